"""A market that does what a test says."""

from collections.abc import Callable, Sequence
from types import SimpleNamespace

from tradebox.sim.exchange.market_port import (
    MICROS,
    REGULAR,
    SECOND_NS,
    Bar,
    Instrument,
    MarketEvent,
    Quote,
    QuoteChange,
    Tick,
    Trade,
)

# Wednesday 2025-06-04 10:00 in New York.
OPEN_NS = 1_749_045_600 * SECOND_NS


def micros(price: float) -> int:
    return round(price * MICROS)


class ScriptedClock:
    def __init__(self) -> None:
        self.time_ns = OPEN_NS
        self.open_from_ns = OPEN_NS - 1800 * SECOND_NS
        self.open_until_ns = OPEN_NS + 6 * 3600 * SECOND_NS
        self.tradable_until_ns = 2**62

    def now_ns(self) -> int:
        return self.time_ns

    def is_open(self, now_ns: int) -> bool:
        return self.open_from_ns <= now_ns < self.open_until_ns

    def is_tradable(self, now_ns: int) -> bool:
        return now_ns < self.tradable_until_ns

    def next_change_ns(self, at_ns: int) -> int:
        """Let the exchange look again at each second, for a test moves the hours as it likes."""
        return max(at_ns + SECOND_NS, self.time_ns)


class ScriptedMarket:
    """Instruments AAPL and MSFT (increment 0.01) and BRK (increment 0.05)."""

    def __init__(self) -> None:
        self.clock = ScriptedClock()
        self._instruments = {
            "AAPL": Instrument("AAPL", 265598, "NASDAQ", "USD", 10_000, "APPLE INC"),
            "MSFT": Instrument("MSFT", 272093, "NASDAQ", "USD", 10_000, "MICROSOFT CORP"),
            "BRK": Instrument("BRK", 72063691, "NYSE", "USD", 50_000, "BERKSHIRE É CO"),
        }
        self._quotes: dict[str, Quote] = {}
        self._callbacks: list[Callable[[MarketEvent], None]] = []
        self.bar_rows: list[Bar] = []
        self.halted: set[str] = set()
        self.actions: list = []
        self.past: list[Tick] = []
        self._halt_callbacks: list[Callable[[str], None]] = []

    def symbols(self) -> Sequence[Instrument]:
        return list(self._instruments.values())

    def instrument(self, symbol: str) -> Instrument | None:
        return self._instruments.get(symbol)

    def quote(self, symbol: str) -> Quote | None:
        return self._quotes.get(symbol)

    def day(self, symbol: str) -> SimpleNamespace | None:
        trades = [one.trade for one in self.past if one.trade.symbol == symbol]
        prices = [trade.price_micros for trade in trades] or [0]
        return SimpleNamespace(
            open_micros=prices[0],
            high_micros=max(prices),
            low_micros=min(prices),
            volume=sum(trade.size for trade in trades),
        )

    def subscribe(self, callback: Callable[[MarketEvent], None]) -> Callable[[], None]:
        self._callbacks.append(callback)
        return lambda: self._callbacks.remove(callback)

    def bars(
        self, symbol: str, interval_s: int, end_ns: int, count: int, *, is_whole: bool = False
    ) -> Sequence[Bar]:
        return [bar for bar in self.bar_rows if bar.end_ns <= end_ns][-count:]

    def is_halted(self, symbol: str) -> bool:
        return symbol in self.halted

    def listen_halts(self, callback: Callable[[str], None]) -> Callable[[], None]:
        self._halt_callbacks.append(callback)
        return lambda: self._halt_callbacks.remove(callback)

    def ticks(
        self, symbol: str, after_ns: int, until_ns: int, count: int, *, is_whole: bool = True
    ) -> list[Tick]:
        inside = [
            one
            for one in self.past
            if one.trade.symbol == symbol and after_ns < one.trade.event_ns <= until_ns
        ]
        return inside[:count] if count > 0 else inside[count:]

    def actions_between(self, after_ns: int, until_ns: int) -> list:
        return [one for one in self.actions if after_ns < one.at_ns <= until_ns]

    # -- what a test does -------------------------------------------------------------------

    def tick(self, milliseconds: int = 1) -> int:
        self.clock.time_ns += milliseconds * 1_000_000
        return self.clock.time_ns

    def show(
        self, bid: float, ask: float, size: int = 1_000, *, symbol: str = "AAPL", last: float = 0
    ) -> None:
        """Change the quote; `last` stays where no price is given."""
        old = self._quotes.get(symbol)
        last_micros = micros(last) if last else (old.last_micros if old else micros(ask))
        quote = Quote(micros(bid), micros(ask), size, size, last_micros, 100, self.tick())
        self._quotes[symbol] = quote
        self._emit(QuoteChange(symbol, quote))

    def print_trade(
        self, price: float, size: int = 1_000, *, symbol: str = "AAPL", kind: str = REGULAR
    ) -> None:
        """Let a trade happen; the quote's last price is already the new one when it is heard."""
        at_ns = self.tick()
        old = self._quotes.get(symbol)
        if old is not None:
            self._quotes[symbol] = Quote(
                old.bid_micros,
                old.ask_micros,
                old.bid_size,
                old.ask_size,
                micros(price),
                size,
                old.event_ns,
            )
        trade = Trade(symbol, micros(price), size, at_ns, kind)
        if old is not None:
            self.past.append(Tick(trade, self._quotes[symbol]))
        self._emit(trade)

    def halt(self, symbol: str, *, is_halted: bool = True) -> None:
        """Halt a symbol, or let it trade again."""
        (self.halted.add if is_halted else self.halted.discard)(symbol)
        for callback in tuple(self._halt_callbacks):
            callback(symbol)

    def _emit(self, event: MarketEvent) -> None:
        for callback in tuple(self._callbacks):
            callback(event)
