"""Finnhub's trade stream: one socket a key, reconnected and resubscribed for ever.

Rules of this file:
- the token travels in the query, so the address is never logged and never in an error;
- what a vendor does is no exception here: it ends a connection, is counted, and backed off from;
- backoff doubles from 1 to 60 s with full jitter and starts anew after 60 s of a stable
  connection; a refused key waits the longest time at once;
- 150 s without any frame is a dead socket, whatever TCP says: the vendor pings each minute;
- a budget error does not name its symbol: the one asked for last goes, and the cap comes down;
  nothing new is asked for until the errors of what was asked already have come: else each of
  them would bring another, and the cap come down for ever;
- more symbols than places: the last places go round (slots.py), looked at with each frame.
"""

import asyncio
import logging
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final, NoReturn, Self
from urllib.parse import quote

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidHandshake, InvalidStatus, WebSocketException

from tradebox.adapters.finnhub.slots import Slots
from tradebox.adapters.finnhub.wire import Trades, VendorError, VendorPing, parse_frame
from tradebox.adapters.loopback import is_loopback
from tradebox.config import FinnhubSettings
from tradebox.domain.market import Source, Tick
from tradebox.ports.clock import MarketClock
from tradebox.ports.ticks import KEY_BITS, TickBatch, TickSink
from tradebox.supervision.clock import Clock, TimerHandle

FRAME_BYTES_MAX: Final = 1 << 20
OPEN_TIMEOUT_S: Final = 10.0
CLOSE_TIMEOUT_S: Final = 1.0
PING_S: Final = 30.0
SETTLE_S: Final = 2.0
"""After the last budget error of a burst; the vendor answers a subscription within much less."""
REFUSED_STATUSES: Final = (401, 403)


@dataclass(frozen=True, slots=True)
class StreamTiming:
    """How long things wait, in real seconds."""

    backoff_s_min: float = 1.0
    backoff_s_max: float = 60.0
    stable_s: float = 60.0
    silent_s_max: float = 150.0
    rotate_s: float = 60.0

    @classmethod
    def of(cls, settings: FinnhubSettings, speed: float = 1.0) -> Self:
        """Return the timing at a clock speed: reconnects hurry with it, silence stays real.

        The vendor's pings come by real minutes at any speed.
        """
        timing = replace(cls(), silent_s_max=settings.silent_s_max, rotate_s=settings.rotate_s)
        scale = max(1.0, speed)
        return replace(
            timing,
            backoff_s_min=timing.backoff_s_min / scale,
            backoff_s_max=timing.backoff_s_max / scale,
            stable_s=timing.stable_s / scale,
            rotate_s=timing.rotate_s / scale,
        )


@dataclass(slots=True)
class StreamFigures:
    """What the stream has seen; only grows."""

    connections: int = 0
    frames: int = 0
    trades: int = 0
    pings: int = 0
    malformed: int = 0


class FinnhubStream:
    """The port TickStream on Finnhub's WebSocket.

    Holds: every subscription wanted and within the budget is asked for again after each
           reconnect; keys rise in wire order; one connection at a time.
    """

    source = Source.FINNHUB

    def __init__(
        self,
        base_url: str,
        key: str,
        market_clock: MarketClock,
        clock: Clock,
        *,
        symbols_max: int = 45,
        rotating: int = 5,
        timing: StreamTiming | None = None,
        rng: Callable[[], float] = random.random,
        mono_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self.figures = StreamFigures()
        self._url = f"{base_url.rstrip('/')}?token={quote(key, safe='')}"
        self._is_local = is_loopback(base_url)
        self._market_clock = market_clock
        self._clock = clock
        self._symbols_max = symbols_max
        self._cap = symbols_max
        self._timing = StreamTiming() if timing is None else timing
        self._slots = Slots(rotating, self._timing.rotate_s)
        self._rng = rng
        self._mono_ns = mono_ns
        self._wanted: tuple[str, ...] = ()
        self._sent: dict[str, None] = {}
        self._socket: ClientConnection | None = None
        self._applying = asyncio.Lock()
        self._attempt = 0
        self._key = 0
        self._heard_s = 0.0
        self._settled_s: float | None = None
        self._watch: TimerHandle | None = None
        self._wire_log = logging.getLogger("tradebox.finnhub.wire")
        self._wire_log.setLevel(logging.WARNING)

    @property
    def budget(self) -> int:
        """How many symbols this connection takes."""
        return self._cap

    def want(self, symbols: Sequence[str]) -> None:
        """Replace the wanted symbols, most important first."""
        self._wanted = tuple(dict.fromkeys(symbols))

    def key(self) -> int:
        """Return the next key in this source's order, for a price that came beside the stream."""
        self._key += 1
        return self._key

    # --- subscriptions ------------------------------------------------------------------------

    async def apply(self) -> None:
        """Send what is missing and take back what is too much; a lost socket ends it silently."""
        async with self._applying:
            socket = self._socket
            if socket is None or self._settled_s is not None:
                return
            target = self._slots.target(self._wanted, self._cap, self._clock.now(), self._sent)
            try:
                for symbol in [known for known in self._sent if known not in target]:
                    del self._sent[symbol]
                    await socket.send(f'{{"type":"unsubscribe","symbol":{_quoted(symbol)}}}')
                for symbol in target:
                    if symbol not in self._sent:
                        self._sent[symbol] = None
                        await socket.send(f'{{"type":"subscribe","symbol":{_quoted(symbol)}}}')
            except (WebSocketException, OSError):
                return

    def _over_budget(self, sink: TickSink) -> None:
        """Give up the symbol asked for last and stay below this number from now on."""
        self._settled_s = self._heard_s + SETTLE_S
        if self._sent:
            symbol, _ = self._sent.popitem()
            self._cap = max(1, len(self._sent))
            sink.noted("symbol_budget", f"finnhub takes no more than {self._cap}: {symbol} waits")

    def _is_apply_due(self) -> bool:
        """Say whether a place is to change hands, or the last budget error lies far enough back."""
        if self._settled_s is None:
            return self._slots.due_s is not None and self._heard_s >= self._slots.due_s
        if self._heard_s < self._settled_s:
            return False
        self._settled_s = None
        return True

    # --- the connection -----------------------------------------------------------------------

    async def run(self, sink: TickSink) -> NoReturn:
        """Connect, read and reconnect for ever."""
        while True:
            began_s = self._clock.now()
            reason, is_refused = await self._one_connection(sink)
            if self._clock.now() - began_s >= self._timing.stable_s:
                self._attempt = 0
            retry_s = self._timing.backoff_s_max if is_refused else self._backoff_s()
            if is_refused:
                sink.noted("vendor_key_refused", f"finnhub refused the stream: {reason}")
            sink.closed(reason, retry_s)
            await self._clock.sleep(retry_s)

    def _backoff_s(self) -> float:
        """Return the next wait: full jitter, at least half of the first step."""
        timing = self._timing
        ceiling = min(timing.backoff_s_max, timing.backoff_s_min * 2.0 ** min(self._attempt, 30))
        self._attempt += 1
        return max(timing.backoff_s_min / 2, ceiling * self._rng())

    async def _one_connection(self, sink: TickSink) -> tuple[str, bool]:
        """Live through one connection; return why it ended and whether the key was refused."""
        try:
            async with connect(
                self._url,
                max_size=FRAME_BYTES_MAX,
                compression=None,
                open_timeout=OPEN_TIMEOUT_S,
                close_timeout=CLOSE_TIMEOUT_S,
                ping_interval=PING_S,
                ping_timeout=PING_S,
                proxy=None if self._is_local else True,
                logger=self._wire_log,
            ) as socket:
                return await self._serve(socket, sink), False
        except InvalidStatus as error:
            status = error.response.status_code
            return f"status {status}", status in REFUSED_STATUSES
        except (InvalidHandshake, WebSocketException, OSError, EOFError) as error:
            return type(error).__name__, False

    async def _serve(self, socket: ClientConnection, sink: TickSink) -> str:
        self._socket, self._sent, self._cap = socket, {}, self._symbols_max
        self.figures.connections += 1
        self._key = sink.opened() << KEY_BITS
        self._heard_s, self._settled_s = self._clock.now(), None
        self._arm_watch(socket)
        try:
            await self.apply()
            while True:
                raw = await socket.recv(decode=False)
                self._heard_s = self._clock.now()
                self._frame(raw, sink)
                if self._is_apply_due():
                    await self.apply()
        except WebSocketException as error:
            is_silent = self._clock.now() - self._heard_s >= self._timing.silent_s_max
            return "silent" if is_silent else type(error).__name__
        finally:
            self._socket = None
            if self._watch is not None:
                self._watch.cancel()
            socket.transport.abort()  # at once: the key takes no second socket beside this one

    def _frame(self, raw: bytes, sink: TickSink) -> None:
        """Act on one frame."""
        mono_ns = self._mono_ns()
        figures = self.figures
        figures.frames += 1
        match parse_frame(raw):
            case Trades(trades, malformed):
                figures.trades += len(trades)
                figures.malformed += malformed
                recv_ns, key = self._market_clock.now_ns(), self._key
                ticks = tuple(
                    Tick(
                        trade.symbol,
                        trade.price_micros,
                        trade.size,
                        trade.event_ns,
                        recv_ns,
                        Source.FINNHUB,
                        key + place,
                        trade.conditions,
                    )
                    for place, trade in enumerate(trades, 1)
                )
                self._key += len(ticks)
                sink.ticks(TickBatch(ticks, mono_ns))
            case VendorPing():
                figures.pings += 1
                sink.ticks(TickBatch((), mono_ns))
            case VendorError(text=text) as error:
                if error.is_budget:
                    self._over_budget(sink)
                else:
                    sink.noted("vendor_error", f"finnhub says: {text}")
            case _:
                figures.malformed += 1

    def _arm_watch(self, socket: ClientConnection) -> None:
        """Cut a connection that has been silent for too long."""
        due_s = self._heard_s + self._timing.silent_s_max

        def look() -> None:
            if self._clock.now() - self._heard_s < self._timing.silent_s_max:
                self._arm_watch(socket)
            else:
                socket.transport.abort()

        self._watch = self._clock.call_at(due_s, look)


def _quoted(symbol: str) -> str:
    """Return the symbol as a JSON string."""
    escaped = symbol.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
