"""One connection for quotes: what is asked on it, what its codes mean, and how it ends.

Rules of this file:
- a request that nothing answers is asked again; one that is refused, or brings what is not live,
  is asked again later;
- what the gateway says while it has lost the broker is not told: it is of before;
- a heartbeat that stays unanswered ends the connection: TCP alone does not notice a peer that is
  gone.
"""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, Final, Protocol, Self

from ib_async.contract import Contract

from tradebox.adapters.ibkr.quotes.client import QuoteClient
from tradebox.adapters.ibkr.quotes.line import DataType, Line, Shown
from tradebox.adapters.ibkr.quotes.reader import QuoteReader
from tradebox.supervision.clock import Clock, TimerHandle

TOO_MANY_LINES: Final = 101
DELAYED_INSTEAD: Final = 10167
COMPETING: Final = 10197
CLIENT_ID_IN_USE: Final = 326
TOO_MANY_MESSAGES: Final = 100
PORT_CHANGED: Final = 1300
LINK_LOST: Final = 1100
RESTORED_DATA_LOST: Final = 1101
RESTORED: Final = 1102
FARM_BROKEN: Final = 2103
FARM_OK: Final = 2104
REFUSALS: Final = {
    200: "ib_no_contract",
    354: "ib_not_subscribed",
    10089: "ib_not_subscribed",
    10168: "ib_not_subscribed",
    10186: "ib_not_subscribed",
}
"""Codes of a line that brings nothing: no contract, or no subscription."""


@dataclass(frozen=True, slots=True)
class QuoteTiming:
    """How long things wait, in real seconds."""

    connect_s: float = 5.0
    look_s: float = 1.0
    settle_s: float = 0.1
    heartbeat_s: float = 10.0
    heartbeat_deadline_s: float = 10.0
    answer_s: float = 10.0
    refused_s: float = 300.0
    competing_s: float = 60.0
    link_lost_s_max: float = 120.0
    backoff_s_min: float = 1.0
    backoff_s_max: float = 60.0
    stable_s: float = 60.0

    @classmethod
    def of(cls, speed: float = 1.0) -> Self:
        """Return the timing at a clock speed: waits for the broker's mood hurry with it."""
        timing, scale = cls(), max(1.0, speed)
        return replace(
            timing,
            refused_s=timing.refused_s / scale,
            competing_s=timing.competing_s / scale,
            link_lost_s_max=max(timing.link_lost_s_max / scale, timing.connect_s),
            backoff_s_min=timing.backoff_s_min / scale,
            backoff_s_max=timing.backoff_s_max / scale,
            stable_s=timing.stable_s / scale,
        )


class Told(Protocol):
    """Whom a session tells."""

    def linked(self) -> None:
        """The gateway serves us, and has its broker."""
        ...

    def cut(self, reason: str) -> None:
        """The gateway has lost its broker; the connection to us stands."""
        ...

    def shown(self, shown: Sequence[Shown]) -> None:
        """What the lines have to say, in wire order."""
        ...

    def noted(self, kind: str, text: str) -> None:
        """Something a person may need to know."""
        ...


class QuoteSession:
    """From the first byte of a connection to its end. Implements reader.Heard.

    lines_max: the broker's market data lines that we may use.
    contract: names the stock of a symbol for the broker.
    Holds:   at most lines_max lines are asked for; while cut nothing is shown.
    """

    def __init__(
        self,
        told: Told,
        clock: Clock,
        timing: QuoteTiming,
        lines_max: int,
        contract: Callable[[str], Contract],
    ) -> None:
        self.cap = lines_max
        self.is_over = False
        self.is_ready = False
        self.reader = QuoteReader(self)
        self.client: Any = QuoteClient(self, self.reader)
        self.gone: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._told = told
        self._clock = clock
        self._timing = timing
        self._contract = contract
        self._wanted: tuple[str, ...] = ()
        self._lines: dict[int, Line] = {}
        self._asked: dict[str, Line] = {}
        self._refused: dict[str, float] = {}
        self._request_id = 0
        self._ready: list[Shown] = []
        self._touched: dict[int, Line] = {}
        self._waiting: dict[int, Line] = {}
        self._settling: TimerHandle | None = None
        self._looking: TimerHandle | None = None
        self._heartbeat_at_s = float("-inf")
        self._is_heartbeat_due = False
        self._cut_at_s: float | None = None
        self._broken_farms: set[str] = set()
        self._noted: set[str] = set()

    # --- the connection -----------------------------------------------------------------------

    async def open(self, host: str, port: int, client_id: int) -> None:
        """Shake hands and ask for live data alone.

        Raises: ConnectionError, OSError or TimeoutError where the gateway does not serve us.
        """
        async with asyncio.timeout(self._timing.connect_s):
            shaking = asyncio.ensure_future(self.client.connectAsync(host, port, client_id, 0))
            try:
                await asyncio.wait({shaking, self.gone}, return_when=asyncio.FIRST_COMPLETED)
                if not shaking.done():
                    raise ConnectionError(self.gone.result())
                await shaking
            finally:
                if not shaking.done():
                    shaking.cancel()
                    with suppress(asyncio.CancelledError, OSError):
                        await shaking
        if self.is_over:
            raise ConnectionError(self.gone.result())
        self.is_ready = True
        self.client.reqMarketDataType(int(DataType.LIVE))
        self._told.linked()
        self._look_later()

    def end(self, reason: str) -> None:
        """Close; the first reason stays."""
        if self.is_over:
            return
        self.is_over = True
        for timer in (self._settling, self._looking):
            if timer is not None:
                timer.cancel()
        if not self.gone.done():
            self.gone.set_result(reason)
        self.client.disconnect()

    # The names below are the library's.

    def connectAck(self) -> None:  # noqa: N802
        """Nothing to do: readiness is managedAccounts and nextValidId."""

    def setEventsDone(self) -> None:  # noqa: N802
        """The library says so whenever the socket is gone, ready or not."""
        self.end("the gateway closed the connection")

    def connectionClosed(self) -> None:  # noqa: N802
        """As setEventsDone."""

    # --- lines --------------------------------------------------------------------------------

    def want(self, symbols: Sequence[str]) -> None:
        """Replace the wanted symbols, most important first, and ask for what is missing."""
        self._wanted = tuple(symbols)
        self._apply()

    @property
    def symbols(self) -> tuple[str, ...]:
        """The symbols that are asked for."""
        return tuple(self._asked)

    def _apply(self) -> None:
        if not self.is_ready or self.is_over:
            return
        open_to_us = [symbol for symbol in self._wanted if symbol not in self._refused]
        target = dict.fromkeys(open_to_us[: self.cap])
        for symbol in [known for known in self._asked if known not in target]:
            self._cancel(self._asked[symbol])
        for symbol in target:
            if symbol not in self._asked:
                self._ask(symbol)

    def _ask(self, symbol: str) -> None:
        self._request_id += 1
        line = Line(symbol, self._request_id, self._clock.now())
        self._lines[line.request_id] = self._asked[symbol] = line
        # No generic ticks, no snapshot.
        self.client.reqMktData(line.request_id, self._contract(symbol), "", False, False, [])

    def _cancel(self, line: Line) -> None:
        self._drop(line)
        self.client.cancelMktData(line.request_id)

    def _drop(self, line: Line) -> None:
        self._lines.pop(line.request_id, None)
        self._waiting.pop(line.request_id, None)
        self._touched.pop(line.request_id, None)
        if self._asked.get(line.symbol) is line:
            del self._asked[line.symbol]

    def _ask_all_again(self) -> None:
        for line in tuple(self._asked.values()):
            self._cancel(line)
        self._apply()

    def _refuse(self, line: Line, wait_s: float) -> None:
        """Do without a symbol for a while; another one may have its line."""
        self._refused[line.symbol] = self._clock.now() + wait_s
        self._drop(line)

    # --- looking after it ---------------------------------------------------------------------

    def _look_later(self) -> None:
        due_s = self._clock.now() + self._timing.look_s
        self._looking = self._clock.call_at(due_s, self._look)

    def _look(self) -> None:
        now_s = self._clock.now()
        timing = self._timing
        if self._is_heartbeat_due and now_s - self._heartbeat_at_s >= timing.heartbeat_deadline_s:
            self.end("no answer to a heartbeat")
            return
        if self._cut_at_s is not None and now_s - self._cut_at_s >= timing.link_lost_s_max:
            self.end("the gateway has been without its broker for too long")
            return
        if not self._is_heartbeat_due and now_s - self._heartbeat_at_s >= timing.heartbeat_s:
            self._heartbeat_at_s, self._is_heartbeat_due = now_s, True
            self.client.reqCurrentTime()
        for symbol in [one for one, until_s in self._refused.items() if until_s <= now_s]:
            del self._refused[symbol]
        for line in tuple(self._asked.values()):
            limit_s = timing.refused_s if line.is_heard else timing.answer_s
            if not (line.is_heard and line.is_live) and now_s - line.asked_s >= limit_s:
                self._cancel(line)  # asked for anew below
        self._apply()
        self._look_later()

    # --- reader.Heard -------------------------------------------------------------------------

    def price(self, request_id: int, kind: int, micros: int | None, size: int) -> None:
        """Take a price of a line."""
        if (line := self._line(request_id)) is not None:
            unsound = line.unsound
            self._show(line.price(kind, micros, size))
            if line.unsound > unsound:
                self._note_once("ib_bad_price", f"ib says a price of {line.symbol} that is none")

    def size(self, request_id: int, kind: int, size: int) -> None:
        """Take a size of a line."""
        if (line := self._line(request_id)) is not None:
            line.size(kind, size)

    def time(self, request_id: int, kind: int, seconds: int) -> None:
        """Take the time of a line's last trade."""
        if (line := self._line(request_id)) is not None:
            self._show(line.time(kind, seconds))

    def halted(self, request_id: int, kind: int, *, is_halted: bool) -> None:
        """Take note of a halt."""
        line = self._line(request_id)
        if line is None:
            return
        line.kind_of(kind)
        if line.is_halted is not is_halted:
            line.is_halted = is_halted
            word = "is halted" if is_halted else "trades again"
            self._told.noted("ib_halt", f"ib says that {line.symbol} {word}")
            self._show(line.again())

    def data_type(self, request_id: int, data_type: int) -> None:
        """Take note of what a line's data are; what is not known counts as frozen."""
        line = self._line(request_id)
        if line is None:
            return
        known = data_type in DataType.__members__.values()
        line.become(DataType(data_type) if known else DataType.FROZEN)
        if not line.is_live:
            word = line.data_type.name.lower()
            self._note_once(f"ib_{word}", f"ib calls the data of {line.symbol} {word}: not live")

    def taken(self, request_id: int) -> None:
        """Take note that a request was heard."""
        self._line(request_id)

    def current_time(self, seconds: int) -> None:
        """Take the answer to a heartbeat."""
        del seconds
        self._is_heartbeat_due = False

    def code(self, request_id: int, code: int, text: str) -> None:
        """Act on a code of a line or of the connection."""
        line = self._lines.get(request_id) if request_id >= 0 else None
        if line is not None:
            self._line_code(line, code, text)
        else:
            self._link_code(code, text)

    def pause(self) -> None:
        """All that had arrived is told: pass on what is whole, let the rest settle."""
        for line in self._touched.values():
            self._show(line.paused())
            if line.is_waiting:
                self._waiting[line.request_id] = line
        self._touched.clear()
        self._pass_on()
        if self._waiting and self._settling is None and not self.is_over:
            due_s = self._clock.now() + self._timing.settle_s
            self._settling = self._clock.call_at(due_s, self._settle)

    # --- inside -------------------------------------------------------------------------------

    def _line(self, request_id: int) -> Line | None:
        line = self._lines.get(request_id)
        if line is not None:
            line.is_heard = True
            self._touched[request_id] = line
        return line

    def _settle(self) -> None:
        self._settling = None
        waiting, self._waiting = self._waiting, {}
        for line in waiting.values():
            self._show(line.overdue())
        self._pass_on()

    def _show(self, shown: Shown | None) -> None:
        if shown is not None and self._cut_at_s is None:
            self._ready.append(shown)

    def _pass_on(self) -> None:
        if self._ready:
            shown, self._ready = self._ready, []
            self._told.shown(shown)

    def _line_code(self, line: Line, code: int, text: str) -> None:
        timing = self._timing
        if code == DELAYED_INSTEAD:
            line.is_heard = True
            line.become(DataType.DELAYED)
            self._note_once("ib_delayed", f"ib shows delayed data of {line.symbol}: {text}")
        elif code == COMPETING:
            self._note_once("ib_competing", f"another session has ib's live data: {text}")
            self.client.cancelMktData(line.request_id)
            self._refuse(line, timing.competing_s)
        elif code == TOO_MANY_LINES:
            self._drop(line)
            self.cap = max(1, len(self._asked))
            self._told.noted("symbol_budget", f"ib gives {self.cap} lines: {line.symbol} waits")
        elif code in REFUSALS:
            self._told.noted(REFUSALS[code], f"ib refuses {line.symbol}: {code} {text}")
            self._refuse(line, timing.refused_s)
            self._apply()
        else:
            self._note_once(f"ib_{code}", f"ib says of {line.symbol}: {code} {text}")

    def _link_code(self, code: int, text: str) -> None:
        if code == LINK_LOST:
            self._lost(text)
        elif code in (RESTORED, RESTORED_DATA_LOST):
            self._restored(is_data_lost=code == RESTORED_DATA_LOST)
        elif code == FARM_BROKEN:
            self._broken_farms.add(_farm(text))
            self._told.noted("ib_farm", f"ib says: {text}")
        elif code == FARM_OK and _farm(text) in self._broken_farms:
            self._broken_farms.discard(_farm(text))
            self._ask_all_again()
        elif code == PORT_CHANGED:
            self.end(f"the gateway's port has changed: {text}")
        elif code == CLIENT_ID_IN_USE:
            self._told.noted("ib_client_id", f"ib says: {text}")
            self.end("the client id is in use")
        elif code == TOO_MANY_MESSAGES:
            self._note_once("ib_pacing", f"ib says: {text}")

    def _lost(self, text: str) -> None:
        if self._cut_at_s is not None:
            return
        self._pass_on()
        self._cut_at_s = self._clock.now()
        for line in self._asked.values():
            line.forget()
        self._told.cut(f"1100 {text}")

    def _restored(self, *, is_data_lost: bool) -> None:
        was_cut = self._cut_at_s is not None
        self._cut_at_s = None
        if was_cut:
            self._told.linked()
        if is_data_lost:
            self._ask_all_again()

    def _note_once(self, kind: str, text: str) -> None:
        """Say something of this kind once in a connection: it comes for each line."""
        if kind not in self._noted:
            self._noted.add(kind)
            self._told.noted(kind, text)


def _farm(text: str) -> str:
    """Return the farm that a notice names after its last colon."""
    return text.rpartition(":")[2].strip()
