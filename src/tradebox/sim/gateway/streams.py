"""The ticks that stream to the clients of one gateway.

Rules of this file:
- a missing price leaves as -1 with size 0;
- only what changed since the client was last told is sent;
- a delayed stream says what happened a quarter of an hour ago, by the delayed tick types;
- a client that reads too slowly loses ticks, never order messages.
"""

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from tradebox.sim.exchange.market_port import (
    SECOND_NS,
    MarketEvent,
    Quote,
    QuoteChange,
    SessionFigures,
    Tick,
    Trade,
)
from tradebox.sim.faults import Value
from tradebox.sim.gateway.order_messages import Fields
from tradebox.sim.gateway.wire import price_text

BID, ASK, LAST = 1, 2, 4
BID_SIZE, ASK_SIZE, VOLUME = 0, 3, 8
LAST_TIME = 45
HIGH, LOW, CLOSE, OPEN = 6, 7, 9, 14
HALTED = 49
DELAYED = {1: 66, 2: 67, 4: 68, 0: 69, 3: 70, 6: 72, 7: 73, 8: 74, 9: 75, 14: 76, 45: 88, 49: 90}
"""The delayed tick type of each live one."""

DELAY_NS = 15 * 60 * SECOND_NS
"""How old delayed data are; market nanoseconds."""

WAITING_EVENTS_MAX = 20_000
"""So many events wait in a delayed stream; of more, the oldest are lost."""


class Client(Protocol):
    """What a stream needs of a connection."""

    client_id: int

    @property
    def is_backlogged(self) -> bool:
        """Say whether the client reads too slowly for ticks."""
        ...

    def is_frozen(self, symbol: str) -> bool:
        """Say whether a fault script holds the client's ticks back."""
        ...

    def tick_fault(self, name: str, symbol: str) -> Mapping[str, Value] | None:
        """Return the arguments of a fault of this client's ticks, or None."""
        ...

    def send(self, fields: Fields) -> None:
        """Queue one message."""
        ...

    def say_error(self, request_id: int, code: int, text: str) -> None:
        """Send a message code."""
        ...


@dataclass(slots=True)
class Stream:
    """One client's subscription to one symbol."""

    session: Client
    request_id: int
    symbol: str
    said: Quote | None = None
    is_delayed: bool = False
    last_price: str = ""
    high_micros: int = 0
    low_micros: int = 0
    volume: int = 0
    waiting: deque[MarketEvent] = field(
        default_factory=lambda: deque[MarketEvent](maxlen=WAITING_EVENTS_MAX)
    )
    """What a delayed stream says later."""

    def kind(self, tick_type: int) -> int:
        """Return the tick type that this stream says instead of a live one."""
        return DELAYED.get(tick_type, tick_type) if self.is_delayed else tick_type

    def begin_delayed(self, ticks: Sequence[Tick], figures: SessionFigures | None) -> None:
        """Let what has happened within the delay wait for its time."""
        for tick in ticks:
            self.waiting.append(QuoteChange(self.symbol, tick.quote))
            self.waiting.append(tick.trade)
        whole = figures.volume if figures else 0
        self.volume = max(0, whole - sum(tick.trade.size for tick in ticks))

    def on_event(self, event: MarketEvent, figures: SessionFigures | None) -> None:
        """Say an event, or let it wait; then say what has waited long enough."""
        if not self.is_delayed:
            self._say(event, figures)
            return
        self.waiting.append(event)
        self.say_due(_time_of(event))

    def say_due(self, now_ns: int) -> None:
        """Say what has waited for the delay."""
        while self.waiting and _time_of(self.waiting[0]) <= now_ns - DELAY_NS:
            self._say(self.waiting.popleft(), None)

    def _say(self, event: MarketEvent, figures: SessionFigures | None) -> None:
        if not isinstance(event, Trade):
            if not (self.last_price and self.session.tick_fault("repeat_price", event.symbol)):
                say_quote(self, event.quote)
            return
        self.volume = figures.volume if figures is not None else self.volume + event.size
        _say_trade(self, event, self.volume)
        if figures is not None:
            say_range(self, figures)


@dataclass(slots=True)
class MarketStreams:
    """Every subscription of one gateway, by symbol."""

    figures: Callable[[str], SessionFigures | None] = lambda _: None
    _by_symbol: dict[str, dict[tuple[int, int], Stream]] = field(default_factory=dict)

    def add(self, stream: Stream) -> None:
        """Begin a subscription."""
        key = (id(stream.session), stream.request_id)
        self._by_symbol.setdefault(stream.symbol, {})[key] = stream

    def has(self, session: Client, request_id: int) -> bool:
        """Say whether the client uses this request id."""
        key = (id(session), request_id)
        return any(key in streams for streams in self._by_symbol.values())

    def remove(self, session: Client, request_id: int) -> bool:
        """End a subscription; return whether there was one."""
        key = (id(session), request_id)
        return any(streams.pop(key, None) is not None for streams in self._by_symbol.values())

    def forget(self, session: Client) -> None:
        """End every subscription of a client."""
        for streams in self._by_symbol.values():
            for key in [key for key in streams if key[0] == id(session)]:
                del streams[key]

    def all(self) -> list[Stream]:
        """Return every subscription."""
        return [one for streams in self._by_symbol.values() for one in streams.values()]

    def count(self, session: Client) -> int:
        """Return how many subscriptions a client has."""
        keys = (key for streams in self._by_symbol.values() for key in streams)
        return sum(1 for key in keys if key[0] == id(session))

    def on_event(self, event: MarketEvent) -> None:
        """Send one market event to who follows its symbol."""
        streams = self._by_symbol.get(event.symbol)
        if not streams:
            return
        figures = self.figures(event.symbol) if isinstance(event, Trade) else None
        for stream in tuple(streams.values()):
            session = stream.session
            if not session.is_backlogged and not session.is_frozen(event.symbol):
                stream.on_event(event, figures)

    def on_halt(self, symbol: str, *, is_halted: bool) -> None:
        """Say to who follows a symbol that it is halted, or trades again."""
        for stream in tuple(self._by_symbol.get(symbol, {}).values()):
            if not stream.session.is_frozen(symbol):
                say_halted(stream, is_halted=is_halted)

    def on_beat(self, now_ns: int) -> None:
        """Let time pass for what is delayed."""
        for stream in self.all():
            if stream.waiting and not stream.session.is_backlogged:
                stream.say_due(now_ns)


def _time_of(event: MarketEvent) -> int:
    return event.event_ns if isinstance(event, Trade) else event.quote.event_ns


def say_halted(stream: Stream, *, is_halted: bool) -> None:
    """Send whether the symbol is halted (1: by the exchange; 0: it trades)."""
    value = "1.0" if is_halted else "0.0"
    stream.session.send([45, 6, stream.request_id, stream.kind(HALTED), value])


def say_range(stream: Stream, figures: SessionFigures) -> None:
    """Send the session's high and low where they are new."""
    for tick_type, micros, said in (
        (HIGH, figures.high_micros, stream.high_micros),
        (LOW, figures.low_micros, stream.low_micros),
    ):
        if micros > 0 and micros != said:
            kind = stream.kind(tick_type)
            stream.session.send([1, 6, stream.request_id, kind, price_text(micros), 0, 0])
    stream.high_micros, stream.low_micros = figures.high_micros, figures.low_micros


def say_quote(stream: Stream, quote: Quote) -> None:
    """Send what changed of a quote since the client was last told."""
    said, send, request_id = stream.said, stream.session.send, stream.request_id
    sides = (
        (BID, BID_SIZE, quote.bid_micros, quote.bid_size),
        (ASK, ASK_SIZE, quote.ask_micros, quote.ask_size),
    )
    old_sides = (
        (said.bid_micros, said.bid_size, said.ask_micros, said.ask_size) if said else (None,) * 4
    )
    for index, (price_type, size_type, price, size) in enumerate(sides):
        old_price, old_size = old_sides[2 * index : 2 * index + 2]
        if price != old_price:
            if price > 0:
                send([1, 6, request_id, stream.kind(price_type), price_text(price), size, 1])
            else:
                send([1, 6, request_id, stream.kind(price_type), "-1.0", 0, 0])
        elif size != old_size:
            send([2, 6, request_id, stream.kind(size_type), size])
    stream.said = quote


def _say_trade(stream: Stream, trade: Trade, volume: int) -> None:
    session, request_id = stream.session, stream.request_id
    price = price_text(trade.price_micros)
    if bad := session.tick_fault("bad_tick", trade.symbol):
        price = str(bad["price"])
    elif stream.last_price and session.tick_fault("repeat_price", trade.symbol):
        price = stream.last_price
    stream.last_price = price
    session.send([1, 6, request_id, stream.kind(LAST), price, trade.size, 0])
    session.send([2, 6, request_id, stream.kind(VOLUME), volume])
    session.send([46, 6, request_id, stream.kind(LAST_TIME), trade.event_ns // SECOND_NS])
