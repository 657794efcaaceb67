"""Gives a position that no plan of ours opened a plan and a stop, on a person's word.

Rules of this file:
- the document must fit what the broker holds: symbol, side and size; its stop must be on the
  losing side of the price now;
- the shares enter the books as one adjustment with its reason, in the commit that frees the
  symbol; the plan starts as open, and cover places its stop;
- the plan is stored as open before the shares are its own: a program that dies between the two
  finds a plan without shares, and ends it;
- adopting twice adopts once: the second time nothing is left over;
- nobody follows a symbol without a plan: the first word about it has its prices asked for.
"""

from decimal import Decimal
from typing import Any

from tradebox.domain.orders import Side
from tradebox.domain.plan_document import PlanDocument, document_from, refusal
from tradebox.domain.plan_levels import levels_at
from tradebox.domain.plan_state import Phase, PlanState, Tally
from tradebox.domain.plan_turn import Armed
from tradebox.errors import BrokerUnavailable
from tradebox.execution.order_path import OrderPath
from tradebox.execution.plan_runner import PlanRunner
from tradebox.ports.clock import MarketClock

BY_HAND = "a person"


class Adoption:
    """Adopts positions for one account."""

    def __init__(self, runner: PlanRunner, path: OrderPath, market_clock: MarketClock) -> None:
        self._runner = runner
        self._path = path
        self._market_clock = market_clock

    async def adopt(self, symbol: str, values: dict[str, Any], *, whole: bool = False) -> str:
        """Return the id of the plan that manages the position now. Raises PlanInvalid.

        whole: it takes over the shares of our own plans, too; they end with what was theirs.
        """
        document = document_from(values)
        quantity, cost = self._held(symbol, document, whole=whole)
        price, now_ns = self._path.mark(symbol), self._market_clock.now_ns()
        if price is None or not self._runner.bars_are_read(symbol):
            self._runner.watch(symbol)
            problem = "its price and past bars are asked for only now"
            raise refusal("symbol", symbol, problem, "ask again in some seconds")
        try:
            armed = await self._runner.arm(document)
        except BrokerUnavailable as error:
            problem = f"the broker does not tell its contract: {error.message}"
            raise refusal("symbol", symbol, problem, "ask again") from error
        if not isinstance(armed, Armed):
            why = "the session or the account's value is not known" if armed is None else ""
            problem = why or getattr(armed, "reason", "")
            raise refusal("plan", symbol, problem, "correct it, or ask again")
        levels = levels_at(document, cost, armed.terms)
        if document.order_side.sign * (price - levels.stop) <= 0:
            problem = f"the price {price} is not on the winning side of it"
            raise refusal("stop", levels.stop, problem, "put it on the losing side")
        terms, entry = armed.terms, Tally(quantity, quantity * cost)

        def opened(plan_id: str) -> PlanState:
            return PlanState(
                plan_id=plan_id,
                phase=Phase.OPEN,
                terms=terms,
                quantity=quantity,
                initial_stop=levels.stop,
                entry=entry,
                entry_is_closed=True,
                is_entered=True,
                risk_per_share=abs(cost - levels.stop),
                best_stop=levels.stop,
                opened_ns=now_ns,
            )

        plan_id = await self._runner.store.request_plan(
            document, self._runner.account, now_ns=now_ns, author=BY_HAND, opened=opened
        )
        side = document.order_side
        await self._path.adopt(plan_id, symbol, side, quantity, levels.stop, whole=whole)
        await self._runner.take_up(plan_id, document, opened(plan_id))
        return plan_id

    def _held(self, symbol: str, document: PlanDocument, *, whole: bool) -> tuple[int, Decimal]:
        """Return the shares that are to be the plan's and what they cost. Raises PlanInvalid."""
        if document.symbol != symbol:
            raise refusal("symbol", document.symbol, f"{symbol} is to be adopted", "name it")
        left, cost = self._path.by_hand.unexplained(symbol)
        if left == 0 or cost is None:
            problem = "the broker holds nothing of it that is not in the books"
            raise refusal("symbol", symbol, problem, "look with `tradebox reconcile`")
        if whole:
            left, cost, fault = self._path.by_hand.whole(symbol)
            if fault:
                raise refusal("symbol", symbol, fault, "wait for its end, or cancel it")
        if left == 0 or cost is None:
            raise refusal("symbol", symbol, "the broker holds nothing of it", "release it")
        side = Side.BUY if left > 0 else Side.SELL
        if document.order_side is not side:
            word = "long" if left > 0 else "short"
            raise refusal("side", document.side, f"the position is {left}", f"write {word}")
        if document.size.quantity != abs(left):
            shown = document.size.quantity
            fix = f"write {abs(left)}"
            raise refusal("size.quantity", shown, f"the broker holds {left}", fix)
        return abs(left), cost
