"""One Finnhub stream without its socket: subscriptions in, frames out.

Rules of this file:
- prints only; many to a frame; times in milliseconds, prices as plain JSON numbers;
- no subscription is acknowledged; one too many is answered by an error that names no symbol;
- what a slow reader does not take is bounded: beyond it the stream is over.

Source: finnhub.io WebSocket documentation; the limit of 51 as measured with free keys.
"""

import json
from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple

from tradebox.sim.exchange.market_port import MICROS, OUTSIDE, SECOND_NS, Trade
from tradebox.sim.faults import FaultBoard
from tradebox.sim.finnhub.rest import price_number

SYMBOLS_MAX = 51
PRINTS_PER_FRAME_MAX = 100
WAITING_FRAMES_MAX = 1000
HELD_PRINTS_MAX = 50_000
PING = '{"type":"ping"}'
TOO_MANY = '{"type":"error","msg":"Subscribing to too many symbols"}'
INVALID = '{"type":"error","msg":"Invalid message"}'
FORM_T, ODD_LOT = ("1", "24"), "12"
"""The codes that captured frames of before the open carry."""

_REORDERED_MIN = 3
_MILLISECOND_NS = 1_000_000
_MESSAGE_CHARS_MAX = 4096


Conditions = tuple[str, ...] | None | Literal["left out"]
"""The codes of a print; null, or not there at all, where a fault says so."""


class WirePrint(NamedTuple):
    """A print as it goes on the wire. Units: micros, shares, epoch milliseconds."""

    symbol: str
    price_micros: int
    size: int
    at_ms: int
    conditions: Conditions


class Stream:
    """The state of one connection.

    Holds: never more than SYMBOLS_MAX subscriptions, nor WAITING_FRAMES_MAX frames waiting.
    """

    def __init__(self, faults: FaultBoard) -> None:
        self._faults = faults
        self._held_back: list[WirePrint] = []
        self._held: list[WirePrint] = []
        self.symbols: set[str] = set()
        self.waiting: list[str] = []

    @property
    def is_overrun(self) -> bool:
        """Say whether the reader is too slow to go on."""
        return len(self.waiting) >= WAITING_FRAMES_MAX

    def on_message(self, message: str | bytes) -> None:
        """Take a client's message; what it causes is put among the waiting frames."""
        kind, symbol = _parse(message)
        if not symbol or kind not in ("subscribe", "unsubscribe"):
            self.put(INVALID)
        elif kind == "unsubscribe":
            self.symbols.discard(symbol)
        elif symbol not in self.symbols and len(self.symbols) >= self._limit():
            self.put(TOO_MANY)
        else:
            self.symbols.add(symbol)

    def on_trades(self, trades: Iterable[Trade]) -> None:
        """Take what the market printed; put the subscribed ones among the waiting frames."""
        wire = [
            one
            for trade in trades
            if trade.symbol in self.symbols
            for one in shape(trade, self._faults)
        ]
        wire = self._released() + self._reordered([one for one in wire if not self._holds(one)])
        if wire and self._faults.take("bad_frame"):
            self.put('{"type":"trade","data":[{"c":["1"],"p":')
        for start in range(0, len(wire), PRINTS_PER_FRAME_MAX):
            self.put(frame_of(wire[start : start + PRINTS_PER_FRAME_MAX]))

    @property
    def is_holding(self) -> bool:
        """Say whether prints are kept back, which must leave when the fault ends."""
        return bool(self._held)

    def on_minute(self) -> None:
        """Ping, once a minute."""
        if not self._faults.take("no_ping"):
            self.put(PING)

    def take(self) -> list[str]:
        """Return the waiting frames, oldest first; a half-open stream loses them."""
        frames, self.waiting = self.waiting, []
        return [] if frames and self._faults.take("half_open") else frames

    def put(self, frame: str) -> None:
        """Let a frame wait for the socket, within the limit."""
        if not self.is_overrun:
            self.waiting.append(frame)

    def _limit(self) -> int:
        fault = self._faults.take("symbol_limit")
        return int(fault["symbols"]) if fault else SYMBOLS_MAX

    def _holds(self, one: WirePrint) -> bool:
        """Keep a print back, where a fault says so."""
        is_held = self._faults.take("hold", symbol=one.symbol) is not None
        if is_held and len(self._held) < HELD_PRINTS_MAX:
            self._held.append(one)
        return is_held

    def _released(self) -> list[WirePrint]:
        """Return the prints that are kept back no longer, oldest first."""
        if not self._held:
            return []
        is_set = {one.symbol: False for one in self._held}
        for symbol in is_set:
            is_set[symbol] = self._faults.is_set("hold", symbol=symbol)
        released = [one for one in self._held if not is_set[one.symbol]]
        self._held = [one for one in self._held if is_set[one.symbol]]
        return released

    def _reordered(self, wire: list[WirePrint]) -> list[WirePrint]:
        passed: list[WirePrint] = []
        for one in wire:
            is_held = self._faults.take("reorder", symbol=one.symbol)
            (self._held_back if is_held else passed).append(one)
        if len(self._held_back) >= _REORDERED_MIN:
            passed += sorted(self._held_back, key=lambda one: -one.at_ms)
            self._held_back = []
        return passed


def shape(trade: Trade, faults: FaultBoard) -> list[WirePrint]:
    """Return what the vendor says of a print, with the faults that are set."""
    symbol = trade.symbol
    if faults.take("silent_symbol", symbol=symbol):
        return []
    price, at_ns = trade.price_micros, trade.event_ns
    conditions: Conditions = ("1",) if trade.size >= 100 else ()
    if trade.kind == OUTSIDE:
        conditions = FORM_T if trade.size >= 100 else (*FORM_T, ODD_LOT)
    if fault := faults.take("spike", symbol=symbol):
        price += price * round(float(fault["percent"]) * MICROS) // (100 * MICROS)
        price -= price % 100
    if faults.take("zero_price", symbol=symbol):
        price = 0
    if fault := faults.take("stale_time", symbol=symbol):
        at_ns -= round(float(fault["age_s"]) * SECOND_NS)
    if fault := faults.take("future_time", symbol=symbol):
        at_ns += round(float(fault["ahead_s"]) * SECOND_NS)
    if faults.take("null_conditions", symbol=symbol):
        conditions = None
    if faults.take("no_conditions", symbol=symbol):
        conditions = "left out"
    one = WirePrint(symbol, price, trade.size, at_ns // _MILLISECOND_NS, conditions)
    fault = faults.take("duplicate", symbol=symbol)
    return [one] * (int(fault["times"]) if fault else 1)


def frame_of(prints: Sequence[WirePrint]) -> str:
    """Return the JSON frame of some prints."""
    data = [_row(one) for one in prints]
    return json.dumps({"data": data, "type": "trade"}, separators=(",", ":"))


def _row(one: WirePrint) -> dict[str, object]:
    codes: dict[str, object] = {"c": None if one.conditions is None else list(one.conditions)}
    return {
        **({} if one.conditions == "left out" else codes),
        "p": price_number(one.price_micros),
        "s": one.symbol,
        "t": one.at_ms,
        "v": one.size,
    }


def _parse(message: str | bytes) -> tuple[object, str]:
    """Return the message's type and symbol; the symbol is empty where it is no request."""
    if len(message) > _MESSAGE_CHARS_MAX:
        return None, ""
    try:
        data = json.loads(message)
    except (ValueError, RecursionError):
        return None, ""
    if not isinstance(data, dict):
        return None, ""
    symbol = data.get("symbol")
    return data.get("type"), symbol if isinstance(symbol, str) else ""
