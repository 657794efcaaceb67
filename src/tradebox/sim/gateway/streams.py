"""The ticks that stream to the clients of one gateway.

Rules of this file:
- a missing price leaves as -1 with size 0;
- only what changed since the client was last told is sent;
- a client that reads too slowly loses ticks, never order messages.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from tradebox.sim.exchange.market_port import SECOND_NS, MarketEvent, Quote, Trade
from tradebox.sim.faults import Value
from tradebox.sim.gateway.order_messages import Fields
from tradebox.sim.gateway.wire import price_text

BID, ASK, LAST = 1, 2, 4
BID_SIZE, ASK_SIZE, VOLUME = 0, 3, 8
LAST_TIME = 45
CLOSE = 9
DELAYED = {1: 66, 2: 67, 4: 68, 0: 69, 3: 70, 8: 74, 9: 75, 45: 88}
"""The delayed tick type of each live one."""


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

    def kind(self, tick_type: int) -> int:
        """Return the tick type that this stream says instead of a live one."""
        return DELAYED.get(tick_type, tick_type) if self.is_delayed else tick_type


@dataclass(slots=True)
class MarketStreams:
    """Every subscription of one gateway, by symbol."""

    _by_symbol: dict[str, dict[tuple[int, int], Stream]] = field(default_factory=dict)
    _volumes: dict[str, int] = field(default_factory=dict)

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
        if isinstance(event, Trade):
            self._volumes[event.symbol] = self._volumes.get(event.symbol, 0) + event.size
        streams = self._by_symbol.get(event.symbol)
        if not streams:
            return
        for stream in tuple(streams.values()):
            session = stream.session
            if session.is_backlogged or session.is_frozen(event.symbol):
                continue
            if isinstance(event, Trade):
                _say_trade(stream, event, self._volumes[event.symbol])
            else:
                say_quote(stream, event.quote)


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
