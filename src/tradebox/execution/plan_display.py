"""What the plans of one account look like from outside: rows, positions, money, steps, alerts.

Rules of this file:
- a plan's row goes out at once after a change, else at most twice a second;
- positions and money go out when they differ from what was last told, and again every
  RETELL_S, so that a watcher that lost one is right again soon;
- every step is one event and one log line, in the order the machine took them.
"""

from collections.abc import Callable, Iterable
from decimal import Decimal
from typing import Any, Final

from loguru import logger

from tradebox.domain.events import (
    AccountChanged,
    AlertRaised,
    PlanChanged,
    PlanStepTaken,
    PositionChanged,
)
from tradebox.domain.orders import AccountName
from tradebox.domain.path import AccountState
from tradebox.domain.plan_rows import plan_row
from tradebox.domain.plan_state import Phase
from tradebox.domain.plan_turn import StepTaken
from tradebox.execution.plan_needs import PlanPath, Prices
from tradebox.execution.running_plan import RunningPlan
from tradebox.ports.clock import MarketClock
from tradebox.supervision.clock import Clock

ROW_PERIOD_S: Final = 0.5
RETELL_S: Final = 5.0


class PlanDisplay:
    """Publishes the events of one account's plans.

    Holds:   per plan at most one row each ROW_PERIOD_S, but for changes of its state.
    """

    def __init__(
        self,
        account: AccountName,
        market_clock: MarketClock,
        clock: Clock,
        prices: Prices,
        publish: Callable[[object], object],
    ) -> None:
        self._account = account
        self._market_clock = market_clock
        self._clock = clock
        self._prices = prices
        self._publish = publish
        self._positions: dict[str, PositionChanged] = {}
        self._money: AccountChanged | None = None
        self._status_due_s = 0.0
        self._retell_due_s = 0.0

    def step(self, running: RunningPlan, taken: StepTaken) -> None:
        """Tell that a plan took a step."""
        plan_id, symbol = running.state.plan_id, running.document.symbol
        logger.bind(
            account=self._account.value, plan_id=plan_id, symbol=symbol, kind=taken.kind.value,
            price=str(taken.price), quantity=taken.quantity, source=taken.source,
            reason=taken.reason, at_ns=taken.at_ns,
        ).info("plan_step")  # fmt: skip
        self._publish(
            PlanStepTaken(
                account=self._account,
                plan_id=plan_id,
                symbol=symbol,
                kind=taken.kind.value,
                price=taken.price,
                source=taken.source,
                reason=taken.reason,
                at_ns=taken.at_ns,
            )
        )

    def phase(self, running: RunningPlan, before: Phase) -> None:
        """Tell that a plan's state changed."""
        state = running.state
        logger.bind(
            account=self._account.value, plan_id=state.plan_id, before=before.value,
            state=state.phase.value, reason=state.close_reason,
        ).info("plan_state")  # fmt: skip
        if state.phase is Phase.REFUSED:
            text = f"{state.plan_id}: {state.close_reason}"
            self.alert("warning", "plan_refused", text, running.document.symbol)

    def alert(self, severity: str, kind: str, text: str, symbol: str | None = None) -> None:
        """Tell a person."""
        self._publish(
            AlertRaised(
                severity=severity,
                kind=kind,
                text=text,
                account=self._account,
                symbol=symbol,
                at_ns=self._market_clock.now_ns(),
            )
        )

    def show(self, plans: Iterable[RunningPlan], path: PlanPath) -> None:
        """Publish what is due: rows of plans, positions, money."""
        now_s, now_ns = self._clock.now(), self._market_clock.now_ns()
        for running in plans:
            is_old = now_s - running.row_at_s >= ROW_PERIOD_S
            if running.row_is_due or (is_old and not running.state.phase.is_final):
                self._show_row(running, now_ns)
                running.row_at_s, running.row_is_due = now_s, False
        if now_s >= self._status_due_s:
            self._status_due_s = now_s + ROW_PERIOD_S
            is_retold = now_s >= self._retell_due_s
            if is_retold:
                self._retell_due_s = now_s + RETELL_S
                self._money = None
            self._show_positions(path.holdings(), now_ns, is_retold=is_retold)
            self._show_money(path.account_state, now_ns)

    def _show_row(self, running: RunningPlan, now_ns: int) -> None:
        symbol = running.document.symbol
        row = plan_row(
            self._account,
            running.document,
            running.state,
            tick=self._prices.last(symbol),
            quality=self._prices.quality_now(symbol),
            now_ns=now_ns,
            is_demo=running.is_demo,
        )
        self._publish(PlanChanged(row))

    def _show_positions(
        self, rows: Iterable[PositionChanged], now_ns: int, *, is_retold: bool
    ) -> None:
        present = {row.symbol: row for row in rows}
        for symbol, row in present.items():
            if is_retold or not _is_same(row, self._positions.get(symbol)):
                self._publish(row)
        for symbol in self._positions.keys() - present.keys():
            if self._positions[symbol].quantity:
                flat = PositionChanged(
                    account=self._account,
                    symbol=symbol,
                    quantity=0,
                    stop_quantity=0,
                    in_flight_quantity=0,
                    covered=True,
                    average_price=None,
                    at_ns=now_ns,
                )
                self._publish(flat)
        self._positions = present

    def _show_money(self, money: AccountState, now_ns: int) -> None:
        if money.net_liquidation_usd is None or money.cash_usd is None:
            return
        row = AccountChanged(
            account=self._account,
            account_id=money.account_id,
            net_liquidation_usd=money.net_liquidation_usd,
            cash_usd=money.cash_usd,
            realised_day_usd=money.realised_day_usd or Decimal(0),
            open_risk_usd=money.open_risk_usd or Decimal(0),
            at_ns=now_ns,
        )
        if not _is_same(row, self._money):
            self._money = row
            self._publish(row)


def _is_same(row: Any, other: Any) -> bool:
    """Say whether two rows differ in nothing but their time."""
    if other is None:
        return False
    names = (name for name in row.__slots__ if name != "at_ns")
    return all(getattr(row, name) == getattr(other, name) for name in names)
