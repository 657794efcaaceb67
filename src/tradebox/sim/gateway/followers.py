"""What follows the market print by print: real-time bars, bars kept up to date, tick by tick.

Rules of this file:
- a bar is said when it is complete: by the first print after it, or by the gateway's beat;
- a real-time bar in which nothing traded says the last price, with volume 0;
- a bar kept up to date is said while it grows, once a beat at most;
- a client that reads too slowly loses these, never order messages.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from tradebox.sim.exchange.market_port import (
    CLOSING,
    OPENING,
    OUTSIDE,
    SECOND_NS,
    MarketEvent,
    QuoteChange,
    Trade,
)
from tradebox.sim.gateway.order_messages import Fields
from tradebox.sim.gateway.streams import Client
from tradebox.sim.gateway.wire import average_text, price_text

REAL_TIME_BAR_S = 5
FOLLOWERS_MAX = 500
TICK_KINDS = {"Last": 1, "AllLast": 2, "BidAsk": 3, "MidPoint": 4}
ROUND_LOT = 100
_CONDITIONS = {OPENING: "O", CLOSING: "6", OUTSIDE: "T"}
"""Source: the sale conditions of the UTP plan's trade data feed (I: odd lot)."""

Key = tuple[int, int]


def conditions_of(trade: Trade) -> str:
    """Return a print's sale conditions, one letter each, as the consolidated tape has them."""
    odd = "I" if trade.size < ROUND_LOT else ""
    return _CONDITIONS.get(trade.kind, "") + odd


@dataclass(slots=True)
class GrowingBar:
    """A bar that is not complete. Units: market ns, micros, shares."""

    start_ns: int = 0
    open: int = 0
    high: int = 0
    low: int = 0
    close: int = 0
    volume: int = 0
    notional: int = 0
    count: int = 0

    def begin(self, start_ns: int) -> None:
        """Start an empty bar."""
        self.start_ns = start_ns
        self.open = self.high = self.low = self.close = 0
        self.volume = self.notional = self.count = 0

    def add(self, trade: Trade) -> None:
        """Fold one print in."""
        price = trade.price_micros
        self.open = self.open or price
        self.high = max(self.high, price)
        self.low = min(self.low or price, price)
        self.close = price
        self.volume += trade.size
        self.notional += price * trade.size
        self.count += 1


@dataclass(slots=True)
class BarFollower:
    """One subscription to bars: real-time ones, or the latest of a history."""

    client: Client
    request_id: int
    symbol: str
    interval_s: int
    date_text: Callable[[int], str] | None = None
    """How a history's bar is dated by its start; None for real-time bars."""
    bar: GrowingBar = field(default_factory=GrowingBar)
    is_changed: bool = False
    is_whole: bool = True
    """Prints of before and after the session count, too."""
    is_due: Callable[[int], bool] = lambda _: False
    """Whether a real-time bar that begins then is said though nothing trades in it."""
    last_micros: int = 0

    def on_trade(self, trade: Trade) -> None:
        """Fold a print in; say what it completes."""
        if trade.kind == OUTSIDE and not self.is_whole:
            return
        self.on_time(trade.event_ns)
        if not self.bar.count and self.date_text is not None:
            step_ns = self.interval_s * SECOND_NS
            self.bar.begin(trade.event_ns // step_ns * step_ns)
        self.bar.add(trade)
        self.last_micros = trade.price_micros
        self.is_changed = True

    def on_time(self, now_ns: int) -> None:
        """Say the bar if it is complete."""
        step_ns, bar = self.interval_s * SECOND_NS, self.bar
        if self.date_text is not None:
            if bar.count and now_ns >= bar.start_ns + step_ns:
                self.say()
                bar.begin(0)
            return
        if not bar.start_ns:
            bar.begin(now_ns // step_ns * step_ns)
        while now_ns >= bar.start_ns + step_ns:
            is_due = self.last_micros > 0 and self.is_due(bar.start_ns)
            if bar.count or is_due:
                self.say()
            following_ns = bar.start_ns + step_ns
            bar.begin(following_ns if is_due else max(following_ns, now_ns // step_ns * step_ns))

    def pass_over(self, now_ns: int) -> None:
        """Let the bars until now be lost."""
        step_ns = self.interval_s * SECOND_NS
        if now_ns >= self.bar.start_ns + step_ns:
            self.bar.begin(0 if self.date_text is not None else now_ns // step_ns * step_ns)

    def on_beat(self, now_ns: int) -> None:
        """Let time pass; say a growing bar of a history."""
        self.on_time(now_ns)
        if self.date_text is not None and self.is_changed and self.bar.count:
            self.say()

    def say(self) -> None:
        """Send the bar as it is."""
        bar, self.is_changed = self.bar, False
        average = average_text(bar.notional, bar.volume)
        if self.date_text is None:
            corners = (bar.open, bar.high, bar.low, bar.close)
            prices = [price_text(one or self.last_micros) for one in corners]
            average = average if bar.count else price_text(self.last_micros)
            head: Fields = [50, 3, self.request_id, bar.start_ns // SECOND_NS]
            self.client.send([*head, *prices, bar.volume, average, bar.count])
        else:
            prices = [price_text(one) for one in (bar.open, bar.close, bar.high, bar.low)]
            head = [90, self.request_id, bar.count, self.date_text(bar.start_ns)]
            self.client.send([*head, *prices, average, bar.volume])


@dataclass(slots=True)
class TickFollower:
    """One subscription to every print or quote of a symbol."""

    client: Client
    request_id: int
    symbol: str
    kind: int

    def on_event(self, event: MarketEvent) -> None:
        """Say an event, if it is of the wanted kind."""
        if isinstance(event, Trade):
            if self.kind <= TICK_KINDS["AllLast"]:
                head: Fields = [99, self.request_id, self.kind, event.event_ns // SECOND_NS]
                said = [price_text(event.price_micros), event.size, 0, "", conditions_of(event)]
                self.client.send([*head, *said])
            return
        quote = event.quote
        head = [99, self.request_id, self.kind, quote.event_ns // SECOND_NS]
        if self.kind == TICK_KINDS["BidAsk"]:
            prices = [price_text(quote.bid_micros), price_text(quote.ask_micros)]
            self.client.send([*head, *prices, quote.bid_size, quote.ask_size, 0])
        elif self.kind == TICK_KINDS["MidPoint"]:
            self.client.send([*head, price_text((quote.bid_micros + quote.ask_micros) // 2)])


class Followers:
    """Every follower of one gateway, by symbol."""

    def __init__(self) -> None:
        self._by_symbol: dict[str, dict[Key, BarFollower | TickFollower]] = {}

    def add(self, follower: BarFollower | TickFollower) -> bool:
        """Begin a subscription; False if the client has too many."""
        key = (id(follower.client), follower.request_id)
        count = sum(1 for every in self._by_symbol.values() for one in every if one[0] == key[0])
        if count >= FOLLOWERS_MAX:
            return False
        self._by_symbol.setdefault(follower.symbol, {})[key] = follower
        return True

    def remove(self, client: Client, request_id: int) -> None:
        """End a subscription, if there is one."""
        for every in self._by_symbol.values():
            every.pop((id(client), request_id), None)

    def forget(self, client: Client) -> None:
        """End every subscription of a client."""
        for every in self._by_symbol.values():
            for key in [key for key in every if key[0] == id(client)]:
                del every[key]

    def on_event(self, event: MarketEvent) -> None:
        """Let who follows the symbol have a market event."""
        followers = self._by_symbol.get(event.symbol)
        if not followers:
            return
        for follower in tuple(followers.values()):
            client = follower.client
            if client.is_backlogged or client.is_frozen(event.symbol):
                continue
            if isinstance(follower, TickFollower):
                follower.on_event(event)
            elif not isinstance(event, QuoteChange):
                follower.on_trade(event)

    def on_beat(self, now_ns: int) -> None:
        """Say what is complete and what has grown."""
        for followers in self._by_symbol.values():
            for follower in tuple(followers.values()):
                if not isinstance(follower, BarFollower):
                    continue
                client = follower.client
                if client.is_backlogged or client.is_frozen(follower.symbol):
                    follower.pass_over(now_ns)
                else:
                    follower.on_beat(now_ns)
