"""The market as it happens: delivers prints and quotes in event-time order, and remembers.

Rules of this file:
- no clock is read to make an event: `advance(until)` delivers what lies before a market time;
- listeners are called in the order of their subscription: whoever must see a print first
  subscribes first (the exchange, then the vendors);
- of a print, the quote it happened at is delivered before the trade;
- nothing that lies after the present is given away, but by `next_trade`, which is for tests.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from operator import itemgetter
from typing import Final

from tradebox.sim.exchange.market_port import (
    OUTSIDE,
    Bar,
    Instrument,
    MarketClockView,
    MarketEvent,
    Quote,
    QuoteChange,
    Tick,
    Trade,
)
from tradebox.sim.market import hours
from tradebox.sim.market.actions import DIVIDEND, SPLIT, Action, scaled
from tradebox.sim.market.history import History
from tradebox.sim.market.paths import Corners, fold
from tradebox.sim.market.replay import QuotedPrint, Replay

Scheduled = tuple[int, int, QuotedPrint]
WHEN: Final = itemgetter(0, 1)
"""Time and symbol: prints of one symbol and millisecond stay in the order they were made."""


@dataclass(slots=True)
class DayFigures:
    """A symbol's session so far. Units: micros, shares, UTC ns; zeros before its first print."""

    open_micros: int = 0
    high_micros: int = 0
    low_micros: int = 0
    last_micros: int = 0
    volume: int = 0
    last_ns: int = 0
    previous_close_micros: int = 0

    def take(self, bar: Corners, increment_micros: int, last_ns: int) -> None:
        """Start from the bar of the session's minutes until now."""
        self.open_micros = bar.open * increment_micros
        self.high_micros = bar.high * increment_micros
        self.low_micros = bar.low * increment_micros
        self.last_micros = bar.close * increment_micros
        self.volume, self.last_ns = bar.volume, last_ns

    def add(self, trade: QuotedPrint) -> None:
        """Fold one print in."""
        price = trade.price_micros
        self.open_micros = self.open_micros or price
        self.high_micros = max(self.high_micros, price)
        self.low_micros = min(self.low_micros or price, price)
        self.last_micros = price
        self.volume += trade.size
        self.last_ns = trade.event_ns


class Market:
    """One market for everybody in the simulator; implements the exchange's MarketView.

    Holds: event times never fall; every print up to `advance`'s argument is delivered once.
    """

    def __init__(self, replay: Replay, clock: MarketClockView) -> None:
        self._replay = replay
        self._clock = clock
        self._instruments = tuple(one.instrument for one in replay.series)
        self._by_symbol = {one.symbol: one for one in self._instruments}
        self._history = History(replay)
        self._listeners: tuple[Callable[[MarketEvent], None], ...] = ()
        self._quotes: dict[str, Quote] = {}
        self._days: dict[str, DayFigures] = {}
        self._session = hours.session(replay.first_number)
        self._minute = 0
        self._block: list[Scheduled] = []
        self._position = 0
        self._ahead: list[Scheduled] = []
        self._ahead_symbols = 0
        self._halt_listeners: list[Callable[[str], None]] = []
        self.delivered = 0
        self.reached_ns = 0
        """Everything up to this time was delivered."""

    @property
    def clock(self) -> MarketClockView:
        """Return the market's clock."""
        return self._clock

    def symbols(self) -> Sequence[Instrument]:
        """Return every instrument."""
        return self._instruments

    def instrument(self, symbol: str, /) -> Instrument | None:
        """Return the instrument of that symbol, or None."""
        return self._by_symbol.get(symbol)

    def quote(self, symbol: str, /) -> Quote | None:
        """Return the present quote, or None for an unknown symbol."""
        return self._quotes.get(symbol)

    def day(self, symbol: str, /) -> DayFigures | None:
        """Return a symbol's session so far, or None for an unknown symbol."""
        return self._days.get(symbol)

    def subscribe(self, callback: Callable[[MarketEvent], None], /) -> Callable[[], None]:
        """Deliver each market event to the callback; the result ends the delivery."""
        self._listeners = (*self._listeners, callback)

        def end() -> None:
            self._listeners = tuple(one for one in self._listeners if one is not callback)

        return end

    def bars(
        self,
        symbol: str,
        interval_s: int,
        end_ns: int,
        count: int,
        /,
        *,
        is_whole: bool = False,
    ) -> Sequence[Bar]:
        """Return at most `count` closed bars that end at or before `end_ns`, oldest first.

        Intervals: whole days, multiples of a minute, and parts of a minute; others have no bars.
        Prices of before a split are said in the shares of now.
        is_whole: those before and after the session too, where these are played; days never are.
        """
        if symbol not in self._by_symbol:
            return []
        now_ns = self._clock.now_ns()
        until = hours.session_begun(now_ns).number
        end_ns = min(end_ns, now_ns)
        return self._history.bars(symbol, interval_s, end_ns, count, until, is_whole=is_whole)

    def ticks(
        self,
        symbol: str,
        after_ns: int,
        until_ns: int,
        count: int,
        /,
        *,
        is_whole: bool = True,
    ) -> Sequence[Tick]:
        """Return the prints after one time and not after another, oldest first.

        At most `count`: the oldest ones, of a negative count the latest ones.
        is_whole: those before and after the session too, where these are played.
        """
        if symbol not in self._by_symbol:
            return []
        until_ns = min(until_ns, self._clock.now_ns())
        prints = self._history.prints(symbol, after_ns, until_ns, count, is_whole=is_whole)
        return [
            Tick(
                _trade_of(symbol, one),
                _quote_of(one, one.price_micros, one.size),
            )
            for one in prints
        ]

    def raw_bars(self, symbol: str, interval_s: int, end_ns: int, count: int) -> Sequence[Bar]:
        """Return bars like `bars`, each in the shares of its own time."""
        if symbol not in self._by_symbol:
            return []
        return self._history.bars(symbol, interval_s, min(end_ns, self._clock.now_ns()), count)

    def actions(self, symbol: str) -> Sequence[Action]:
        """Return the splits and dividends that have happened to a symbol."""
        return self._replay.actions.of(symbol, self._clock.now_ns())

    def actions_between(self, after_ns: int, until_ns: int, /) -> Sequence[Action]:
        """Return the actions of all symbols that happen after one time and not after another."""
        return self._replay.actions.between(after_ns, until_ns)

    def announce_split(self, symbol: str, numerator: int, denominator: int) -> Action:
        """Split a symbol's shares at the next open that is not prepared yet."""
        number, at_ns = self._next_open()
        return self.restore_action(Action(SPLIT, symbol, number, at_ns, numerator, denominator))

    def announce_dividend(self, symbol: str, amount_micros: int) -> Action:
        """Pay a dividend at the next open that is not prepared yet. Units: micros a share."""
        number, at_ns = self._next_open()
        action = Action(DIVIDEND, symbol, number, at_ns, amount_micros=amount_micros)
        return self.restore_action(action)

    def restore_action(self, action: Action) -> Action:
        """Take in an action that was announced before a restart, or just now."""
        self._replay.actions.add(action)
        self._replay.forget()
        return action

    @property
    def present_ns(self) -> int:
        """Return the time up to which everything that happens has happened."""
        delivered_ns = self._block[self._position - 1][0] if self._position else 0
        return max(self.reached_ns, delivered_ns)

    def halt(self, symbol: str) -> bool:
        """Stop the trading of a symbol; its prints until `resume` never happen.

        Say whether it was not halted already.
        """
        is_new = self._replay.edit(symbol).halt(self.present_ns)
        if is_new:
            self._remake(symbol)
            self._say_halt(symbol)
        return is_new

    def resume(self, symbol: str) -> bool:
        """Let a halted symbol trade again; say whether it was halted."""
        edits = self._replay.edits.get(symbol)
        is_new = edits is not None and edits.resume(self.present_ns)
        if is_new:
            self._remake(symbol)
            self._say_halt(symbol)
        return is_new

    def gap(self, symbol: str, factor_ppm: int) -> None:
        """Multiply a symbol's prices from now on. Units: parts per million."""
        self._replay.edit(symbol).gaps.append((self.present_ns, factor_ppm))
        self._remake(symbol)

    def is_halted(self, symbol: str, /) -> bool:
        """Say whether trading in a symbol is halted."""
        edits = self._replay.edits.get(symbol)
        return edits is not None and edits.is_halted

    def listen_halts(self, callback: Callable[[str], None], /) -> Callable[[], None]:
        """Tell the callback of each symbol that is halted or trades again; the result ends it."""
        self._halt_listeners.append(callback)
        return lambda: self._halt_listeners.remove(callback)

    def _say_halt(self, symbol: str) -> None:
        for listener in tuple(self._halt_listeners):
            listener(symbol)

    def _remake(self, symbol: str) -> None:
        """Make what a symbol does from now on anew, for it was edited."""
        self._replay.forget()
        index, now_ns = self._instruments.index(self._by_symbol[symbol]), self.present_ns
        part = self._part(index, self._session, self._minute)
        rest = [one for one in self._block[self._position :] if one[1] != index]
        self.reached_ns = now_ns
        self._block = sorted([*rest, *(one for one in part if one[0] > now_ns)], key=WHEN)
        self._position = 0
        self._ahead = [one for one in self._ahead if one[1] != index]
        if index < self._ahead_symbols:
            self._ahead += self._part(index, *self._following())

    def next_event_ns(self) -> int:
        """Return the time of the next event, or a time before it where none is made yet."""
        if self._position < len(self._block):
            return self._block[self._position][0]
        session, minute = self._following()
        return session.open_ns + minute * hours.MINUTE_NS

    def next_trade(self, symbol: str) -> Trade | None:
        """Return the print that will happen next, or None for an unknown symbol."""
        if symbol not in self._by_symbol:
            return None
        for _, index, one in self._block[self._position :]:
            if self._instruments[index].symbol == symbol:
                return _trade_of(symbol, one)
        session, minute = self._following()
        while not (prints := self._replay.prints(symbol, session.number, minute)):
            session, minute = _after(session, minute, is_whole=self._replay.is_whole)
        return _trade_of(symbol, prints[0])

    def begin(self, at_ns: int) -> None:
        """Take the state of a market time, as if it had been running, and deliver nothing."""
        self.reached_ns = at_ns
        self._session = hours.session_of(at_ns, is_whole=self._replay.is_whole)
        first = self._session.minutes_played(is_whole=self._replay.is_whole).start
        self._minute = max(first, (at_ns - self._session.open_ns) // hours.MINUTE_NS)
        self._new_day()
        for one in self._instruments:
            last = self._replay.last_print(one.symbol, self._session.number, self._minute)
            self._quotes[one.symbol] = _quote_of(last, last.price_micros, last.size)
            minutes = self._replay.minutes(one.symbol, self._session.number)
            traded = [bar for bar in minutes[: max(0, self._minute)] if bar is not None]
            if traded:
                increment = one.increment_micros
                if self._minute > self._session.minutes:
                    number, end = self._session.number, self._session.minutes
                    last = self._replay.last_print(one.symbol, number, end)
                self._days[one.symbol].take(fold(traded), increment, last.event_ns)
        self._block = self._make_block(self._session, self._minute)
        self._position = 0
        while self._position < len(self._block) and self._block[self._position][0] <= at_ns:
            self._book(self._block[self._position])
            self._position += 1

    def advance(self, until_ns: int, events_max: int) -> bool:
        """Deliver what lies up to a market time; say whether all of it is delivered.

        events_max bounds the prints of one call, so that a late caller does not hold the loop.
        """
        for _ in range(events_max):
            while self._position >= len(self._block):
                session, minute = self._following()
                if session.open_ns + minute * hours.MINUTE_NS > until_ns:
                    self.reached_ns = max(self.reached_ns, until_ns)
                    return True
                self._enter(session, minute)
            scheduled = self._block[self._position]
            if scheduled[0] > until_ns:
                self.reached_ns = max(self.reached_ns, until_ns)
                return True
            self._position += 1
            self._deliver(scheduled)
        return False

    def prepare(self) -> bool:
        """Make one symbol's part of the next minute ahead of time; False if all is made."""
        if self._ahead_symbols >= len(self._instruments):
            return False
        session, minute = self._following()
        self._ahead += self._part(self._ahead_symbols, session, minute)
        self._ahead_symbols += 1
        return True

    def _deliver(self, scheduled: Scheduled) -> None:
        symbol = self._instruments[scheduled[1]].symbol
        trade = scheduled[2]
        before = self._quotes[symbol]
        quote = _quote_of(trade, before.last_micros, before.last_size)
        self._quotes[symbol] = quote
        self._emit(QuoteChange(symbol, quote))
        self._book(scheduled)
        self._emit(_trade_of(symbol, trade))
        self.delivered += 1

    def _book(self, scheduled: Scheduled) -> None:
        symbol = self._instruments[scheduled[1]].symbol
        trade = scheduled[2]
        self._quotes[symbol] = _quote_of(trade, trade.price_micros, trade.size)
        if trade.kind != OUTSIDE:
            self._days[symbol].add(trade)

    def _emit(self, event: MarketEvent) -> None:
        for listener in self._listeners:
            listener(event)

    def _following(self) -> tuple[hours.Hours, int]:
        return _after(self._session, self._minute, is_whole=self._replay.is_whole)

    def _enter(self, session: hours.Hours, minute: int) -> None:
        while self.prepare():
            pass
        is_new_day = session.number != self._session.number
        self._session, self._minute = session, minute
        self._block, self._ahead, self._ahead_symbols = sorted(self._ahead, key=WHEN), [], 0
        self._position = 0
        if is_new_day:
            self._new_day()

    def _next_open(self) -> tuple[int, int]:
        number = self._following()[0].number + 1
        return number, hours.session(number).begin_ns(is_whole=self._replay.is_whole)

    def _new_day(self) -> None:
        number = self._session.number
        for one in self._instruments:
            close = self._replay.day(one.symbol, number - 1).close
            new, old = self._replay.actions.ratio(one.symbol, number - 1, number)
            if new != old:
                close = scaled(close, new, old)
            previous = close * one.increment_micros
            self._days[one.symbol] = DayFigures(previous_close_micros=previous)
            quote = self._quotes.get(one.symbol)
            if new != old and quote is not None:
                self._quotes[one.symbol] = replace(
                    quote,
                    bid_micros=quote.bid_micros * old // new,
                    ask_micros=quote.ask_micros * old // new,
                    last_micros=previous,
                )

    def _make_block(self, session: hours.Hours, minute: int) -> list[Scheduled]:
        parts = (self._part(index, session, minute) for index in range(len(self._instruments)))
        return sorted((scheduled for part in parts for scheduled in part), key=WHEN)

    def _part(self, index: int, session: hours.Hours, minute: int) -> list[Scheduled]:
        prints = self._replay.prints(self._instruments[index].symbol, session.number, minute)
        return [(one.event_ns, index, one) for one in prints]


def _after(session: hours.Hours, minute: int, *, is_whole: bool) -> tuple[hours.Hours, int]:
    if minute + 1 < session.minutes_played(is_whole=is_whole).stop:
        return session, minute + 1
    following = hours.session(session.number + 1)
    return following, following.minutes_played(is_whole=is_whole).start


def _trade_of(symbol: str, one: QuotedPrint) -> Trade:
    return Trade(symbol, one.price_micros, one.size, one.event_ns, one.kind)


def _quote_of(one: QuotedPrint, last_micros: int, last_size: int) -> Quote:
    return Quote(
        bid_micros=one.bid_micros,
        ask_micros=one.ask_micros,
        bid_size=one.bid_size,
        ask_size=one.ask_size,
        last_micros=last_micros,
        last_size=last_size,
        event_ns=one.event_ns,
    )
