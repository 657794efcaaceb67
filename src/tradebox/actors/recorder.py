"""Records admitted trades as a tape, one file a New York day, which the stand-in world can trade.

Rules of this file:
- lines are made where a tick is delivered, in memory; a thread writes them each second;
- what is no print (a repeat of a suspect, a quote, a close of the day) is not on the tape;
- a disk that fails or is full costs the tape, nothing else: lines wait, the oldest dropped and
  counted; a last line that a crash has cut is cut off before the file goes on;
- one writer of a file at a time: a recorder that was replaced while its disk hung still writes.
"""

import asyncio
import concurrent.futures.thread
import fcntl
import os
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final
from zoneinfo import ZoneInfo

from tradebox.actors.market_hub import MarketHub
from tradebox.domain.events import AlertRaised
from tradebox.domain.market import AdmittedTick, Quality
from tradebox.domain.tape import HEADER, PRICE_USD_MAX, SIZE_MAX, SYMBOL, TapeTrade, tape_line
from tradebox.ports.clock import MarketClock
from tradebox.supervision.actor import Actor, Context
from tradebox.supervision.reasons import ExitReason

WRITE_S: Final = 1.0
LINES_MAX: Final = 200_000
NS_PER_S: Final = 1_000_000_000
NEW_YORK: Final = ZoneInfo("America/New_York")
NOT_ON_TAPE: Final = frozenset({Quality.SUSPECT, Quality.EOD})
PRICE_MICROS_MAX: Final = PRICE_USD_MAX * 1_000_000
_EXECUTOR: Final = concurrent.futures.thread.ThreadPoolExecutor
"""Named here so that nothing is imported when the first line is written."""


class TapeBook:
    """Trades that wait for the disk, each with its New York day.

    Holds:   taken = handed out + waiting + dropped; a line is a whole trade.
    """

    def __init__(self, lines_max: int = LINES_MAX) -> None:
        self._lines_max = lines_max
        self._waiting: deque[tuple[str, str]] = deque()
        self._day = ""
        self._day_ns = (0, 0)
        self.taken = self.skipped = self.dropped = 0

    def take(self, tick: AdmittedTick) -> None:
        """Keep one admitted trade."""
        if (
            tick.quality in NOT_ON_TAPE
            or not 0 < tick.size <= SIZE_MAX
            or tick.price_micros > PRICE_MICROS_MAX
            or SYMBOL.fullmatch(tick.symbol) is None
        ):
            self.skipped += 1
            return
        self.taken += 1
        if len(self._waiting) >= self._lines_max:
            self._waiting.popleft()
            self.dropped += 1
        line = tape_line(TapeTrade(tick.symbol, tick.event_ns, tick.price_micros, tick.size))
        self._waiting.append((self._day_of(tick.event_ns), line))

    def _day_of(self, at_ns: int) -> str:
        begin_ns, end_ns = self._day_ns
        if not begin_ns <= at_ns < end_ns:
            day = datetime.fromtimestamp(at_ns // NS_PER_S, UTC).astimezone(NEW_YORK).date()
            begin = datetime(day.year, day.month, day.day, tzinfo=NEW_YORK)
            after = day + timedelta(days=1)
            end = datetime(after.year, after.month, after.day, tzinfo=NEW_YORK)
            self._day = day.isoformat()
            self._day_ns = round(begin.timestamp()) * NS_PER_S, round(end.timestamp()) * NS_PER_S
        return self._day

    def hand_out(self) -> dict[str, list[str]]:
        """Return what waits by day, and forget it."""
        found: dict[str, list[str]] = {}
        waiting, self._waiting = self._waiting, deque()
        for day, line in waiting:
            found.setdefault(day, []).append(line)
        return found

    def take_back(self, days: dict[str, list[str]]) -> None:
        """Keep again what could not be written, ahead of what came since."""
        older = [(day, line) for day, lines in days.items() for line in lines]
        room = self._lines_max - len(self._waiting)
        kept = older[-room:] if room > 0 else []
        self.dropped += len(older) - len(kept)
        self._waiting.extendleft(reversed(kept))


def write_days(folder: Path, days: dict[str, list[str]], days_max: int) -> None:
    """Append each day's lines to its file; only the newest days_max files stay.

    Holds:   a day that is written leaves `days`; a day is written whole or not at all.
    Raises:  OSError.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for day in list(days):
        _append(folder / f"{day}.csv", days[day])
        del days[day]
    tapes = sorted(folder.glob("????-??-??.csv"))
    for old in tapes[: max(0, len(tapes) - days_max)]:
        old.unlink()


def _append(path: Path, lines: Sequence[str]) -> None:
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        begin = at = _whole(handle)
        data = "".join(lines if begin else (HEADER, *lines)).encode()
        try:
            while data:
                written = os.pwrite(handle, data, at)
                at, data = at + written, data[written:]
        except OSError:
            os.ftruncate(handle, begin)
            raise
    finally:
        os.close(handle)


def _whole(handle: int) -> int:
    """Cut a torn last line off; return the size that is left."""
    size = os.fstat(handle).st_size
    while size:
        start = max(0, size - 4096)
        end = os.pread(handle, size - start, start).rfind(b"\n")
        if end >= 0:
            size = start + end + 1
            break
        size = start
    os.ftruncate(handle, size)
    return size


@dataclass(frozen=True, slots=True)
class WriteDue:
    """To self: write what waits."""


class Recorder(Actor[WriteDue]):
    """Keeps the tape. days_max: so many files stay."""

    mailbox_capacity = 64

    def __init__(
        self,
        book: TapeBook,
        folder: Path,
        hub: MarketHub,
        market_clock: MarketClock,
        days_max: int,
    ) -> None:
        self._book = book
        self._folder = folder
        self._hub = hub
        self._market_clock = market_clock
        self._days_max = days_max
        self._was_failing = False
        self.written = 0

    async def init(self, ctx: Context) -> None:
        """Listen to every symbol; a restarted actor goes on with the same book."""
        self._ctx = ctx
        self._hub.subscribe(ctx.name, self._book.take, None, is_tape=True)
        ctx.send_after(WRITE_S, WriteDue())

    async def handle(self, msg: WriteDue) -> None:
        """Write what waits."""
        del msg
        await self._write()
        self._ctx.send_after(WRITE_S, WriteDue())

    async def _write(self) -> None:
        days = self._book.hand_out()
        if not days:
            return
        count = sum(map(len, days.values()))
        try:
            await asyncio.to_thread(write_days, self._folder, days, self._days_max)
        except OSError as error:
            self._book.take_back(days)
            self.written += count - sum(map(len, days.values()))
            if not self._was_failing:
                self._alert(str(error))
            self._was_failing = True
            return
        self._was_failing = False
        self.written += count

    def _alert(self, text: str) -> None:
        at_ns = self._market_clock.now_ns()
        self._ctx.events.publish(
            AlertRaised(severity="warning", kind="tape_unwritable", text=text, at_ns=at_ns)
        )

    async def terminate(self, reason: ExitReason) -> None:
        """Stop listening and write what waits."""
        del reason
        self._hub.unsubscribe(self._ctx.name)
        await self._write()
