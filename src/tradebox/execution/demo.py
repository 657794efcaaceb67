"""The demo of profile sim: a set of paper plans that shows a newcomer a whole life in a minute.

Rules of this file:
- it asks for plans like a person does, by rows; it never touches an order;
- it steps aside while a plan of a person is active on the account;
- the liveliest symbols go first: those whose price has moved most since the demo watches them;
- until one plan has shown entry, break-even, scale-out and exit in this run, the set is kept
  full; afterwards a new set follows only when the old one has ended, and after a pause.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import ROUND_CEILING, Decimal
from typing import Final

from tradebox.domain.market import Quality
from tradebox.domain.money import to_decimal
from tradebox.domain.path import LinkState
from tradebox.domain.plan_document import PlanDocument, document_from
from tradebox.domain.plan_state import StepKind
from tradebox.errors import StoreUnavailable
from tradebox.execution.plan_needs import Prices
from tradebox.execution.plan_runner import PlanRunner
from tradebox.ports.clock import MarketClock
from tradebox.supervision.clock import Clock

AUTHOR: Final = "demo"
SHOW: Final = frozenset({StepKind.ENTRY, StepKind.BREAK_EVEN, StepKind.SCALE_OUT, StepKind.EXIT})
LIVELY: Final = (
    "NFLX", "NVDA", "AMZN", "BIDU", "UAL", "BIIB", "CELG", "FDX", "SLB", "VLO", "COP", "HAL",
    "NEM", "MS", "GS", "AAPL", "XLE", "BA", "GOOGL", "MSFT",
)  # fmt: skip
"""Symbols of the stand-in market that move a per cent or more a day, liveliest first."""


@dataclass(frozen=True, slots=True)
class DemoTerms:
    """How demo plans are made. Shares of price in per cent, levels in R, times as named."""

    plans: int = 8
    notional_usd: Decimal = Decimal(7500)
    stop_percent: Decimal = Decimal("0.15")
    stop_increments_min: int = 8
    break_even_r: Decimal = Decimal("0.5")
    take_r: Decimal = Decimal("0.7")
    take_fraction: Decimal = Decimal("0.5")
    trail_percent: Decimal = Decimal("0.08")
    time_exit_minutes: int = 10
    entry_minutes: int = 5
    watch_s: float = 2.0
    pause_s: float = 60.0


def demo_document(
    symbol: str, *, is_long: bool, price: Decimal, terms: DemoTerms, increment: Decimal
) -> PlanDocument:
    """Return a demo plan for a symbol at about that price.

    Holds:   the stop is at least stop_increments_min increments away; quantity ≥ 2.
    """
    least = (increment * terms.stop_increments_min / price * 100).quantize(
        Decimal("0.01"), rounding=ROUND_CEILING
    )
    percent = max(terms.stop_percent, least)
    trail = max(terms.trail_percent, least / 2)
    quantity = max(2, int(terms.notional_usd / price))
    return document_from(
        {
            "symbol": symbol,
            "side": "long" if is_long else "short",
            "size": {"quantity": quantity},
            "entry": {"type": "market", "valid_until": terms.entry_minutes},
            "stop": {"percent": percent},
            "steps": [
                {"at": {"r": terms.break_even_r}, "move_stop": {"to": "break_even"}},
                {"at": {"r": terms.take_r}, "take": {"fraction": terms.take_fraction}},
                {"at": {"r": terms.take_r}, "trail": {"percent": trail}},
            ],
            "time_exit": {"after_minutes": terms.time_exit_minutes},
        }
    )


class Demo:
    """Keeps the demo set of one account; used from its controller's timer only."""

    def __init__(
        self,
        runner: PlanRunner,
        prices: Prices,
        market_clock: MarketClock,
        clock: Clock,
        *,
        terms: DemoTerms | None = None,
        symbols: Sequence[str] = LIVELY,
    ) -> None:
        self._runner = runner
        self._prices = prices
        self._market_clock = market_clock
        self._clock = clock
        self._terms = terms or DemoTerms()
        self._all = tuple(symbols)
        self._asked: dict[str, str] = {}
        self._made = 0
        self._ranges: dict[str, tuple[int, int]] = {}
        self._watching_since_s: float | None = None
        self._idle_since_s: float | None = None
        self.had_show = False

    @property
    def symbols(self) -> frozenset[str]:
        """Symbols whose prices the demo waits for; none while it has nothing to do."""
        return frozenset(self._all)

    async def on_timer(self) -> None:
        """Ask for what is missing from the set; harmless at any time."""
        self._watch()
        if not self._may_act():
            return
        active = self._runner.active()
        missing = self._terms.plans - len(active) - len(self._asked)
        taken = {running.document.symbol for running in active} | set(self._asked.values())
        for symbol in sorted(self._ranges, key=self._restless, reverse=True):
            if missing <= 0:
                return
            if symbol not in taken and await self._ask(symbol):
                missing -= 1

    def _watch(self) -> None:
        """Note how far each price has come since the watch began."""
        for symbol in self._all:
            tick = self._prices.last(symbol)
            if tick is None:
                continue
            low, high = self._ranges.get(symbol, (tick.price_micros, tick.price_micros))
            self._ranges[symbol] = min(low, tick.price_micros), max(high, tick.price_micros)
        if self._ranges and self._watching_since_s is None:
            self._watching_since_s = self._clock.now()

    def _restless(self, symbol: str) -> float:
        low, high = self._ranges[symbol]
        return (high - low) / low

    def _may_act(self) -> bool:
        runner, now_s = self._runner, self._clock.now()
        since_s = self._watching_since_s
        if since_s is None or now_s - since_s < self._terms.watch_s:
            return False
        if runner.path.account_state.link is not LinkState.CLEAN:
            return False
        self.had_show = self.had_show or any(p.kinds >= SHOW for p in runner.plans.values())
        active = runner.active()
        for plan_id in self._asked.keys() & runner.plans.keys():
            del self._asked[plan_id]
        if any(not running.is_demo for running in active):
            return False
        if not self.had_show:
            return True
        if active or self._asked:
            self._idle_since_s = None
            return False
        if self._idle_since_s is None:
            self._idle_since_s = now_s
        return now_s - self._idle_since_s >= self._terms.pause_s

    async def _ask(self, symbol: str) -> bool:
        tick = self._prices.last(symbol)
        if tick is None or self._prices.quality_now(symbol) is not Quality.LIVE:
            return False
        try:
            instrument = await self._runner.reference.instrument(symbol)
            if instrument is None:
                return False
            document = demo_document(
                symbol,
                is_long=self._made % 2 == 0,
                price=to_decimal(tick.price_micros),
                terms=self._terms,
                increment=instrument.increment,
            )
            plan_id = await self._runner.store.request_plan(
                document,
                self._runner.account,
                now_ns=self._market_clock.now_ns(),
                author=AUTHOR,
                is_demo=True,
            )
        except StoreUnavailable:
            return False
        self._asked[plan_id] = symbol
        self._made += 1
        return True
