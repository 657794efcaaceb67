"""Minute bars folded from admitted ticks, as they come.

Rules of this file:
- a tick belongs to the minute of its event time; a bar is stamped at its end;
- one bar has one source, that of its first tick: ticks of another in the same minute are counted,
  not folded;
- a suspect price and a close of the day are in no bar, nor is what reaches us a day late;
- a bar is done when its minute and the time for late ticks are over, by the newest tick of any
  symbol: an engine that is behind closes nothing early; by the clock where nothing comes for long;
- what comes later is counted, never folded: a bar that was handed out does not change;
- a bar that no true bar can be (check 20) is told and dropped.
"""

from collections import deque
from dataclasses import dataclass
from typing import Final

from tradebox.domain.bar_check import MINUTE_NS, Corners, bar_defect
from tradebox.domain.market import AdmittedTick, Quality, Source

__all__ = ["MINUTE_NS", "BarBook", "MinuteBar"]

SETTLE_NS: Final = 5_000_000_000
IDLE_SETTLES: Final = 12
DONE_MAX: Final = 100_000
DEFECTS_MAX: Final = 10
LATE_NS_MAX: Final = 86_400 * 1_000_000_000
IN_NO_BAR: Final = frozenset({Quality.SUSPECT, Quality.EOD})


@dataclass(frozen=True, slots=True)
class MinuteBar:
    """One minute of one symbol. Units: micros, shares; end_ns UTC.

    is_partial: the minute had begun before the first tick could be seen, or had other sources too.
    """

    symbol: str
    end_ns: int
    open_micros: int
    high_micros: int
    low_micros: int
    close_micros: int
    volume: int
    ticks: int
    source: Source
    is_partial: bool


class _Bar:
    """An open bar. open_ns, close_ns: the event times of its first and its last price."""

    __slots__ = ("close", "close_ns", "high", "is_partial", "low", "minute", "open", "open_ns",
                 "source", "ticks", "volume")  # fmt: skip

    def __init__(self, minute: int, tick: AdmittedTick, *, is_partial: bool) -> None:
        self.minute = minute
        self.open = self.high = self.low = self.close = tick.price_micros
        self.open_ns = self.close_ns = tick.event_ns
        self.volume = tick.size
        self.ticks = 1
        self.source = tick.source
        self.is_partial = is_partial

    def fold(self, tick: AdmittedTick) -> None:
        """Take in one more tick; first and last are those by event time, then by coming."""
        price, event_ns = tick.price_micros, tick.event_ns
        if price > self.high:
            self.high = price
        elif price < self.low:
            self.low = price
        if event_ns >= self.close_ns:
            self.close, self.close_ns = price, event_ns
        elif event_ns < self.open_ns:
            self.open, self.open_ns = price, event_ns
        self.volume += tick.size
        self.ticks += 1

    def done(self, symbol: str) -> MinuteBar:
        return MinuteBar(
            symbol, (self.minute + 1) * MINUTE_NS, self.open, self.high, self.low, self.close,
            self.volume, self.ticks, self.source, self.is_partial,
        )  # fmt: skip


class BarBook:
    """The open bars of every symbol, and the done ones that nobody has taken yet.

    Units:   settle_ns market ns after a minute's end in which late ticks still count; after
             IDLE_SETTLES of them without a tick the clock alone decides.
    Holds:   each bar is handed out once and is the fold of its source's ticks of that minute;
             folded + foreign + late + skipped = ticks taken; at most done_max bars wait; a bar
             with a defect is counted as refused, the last ones with their reasons.
    """

    def __init__(self, settle_ns: int = SETTLE_NS, done_max: int = DONE_MAX) -> None:
        self._settle_ns = settle_ns
        self._done_max = done_max
        self._newest_ns = 0
        self._open: dict[str, _Bar] = {}
        self._before: dict[str, _Bar] = {}
        self._closed: dict[str, int] = {}
        self.done: deque[MinuteBar] = deque()
        self.defects: deque[str] = deque(maxlen=DEFECTS_MAX)
        self.folded = self.foreign = self.late = self.skipped = self.dropped = self.refused = 0

    def take(self, tick: AdmittedTick) -> None:
        """Fold one admitted tick."""
        if tick.quality in IN_NO_BAR or tick.recv_ns - tick.event_ns >= LATE_NS_MAX:
            self.skipped += 1
            return
        symbol, minute = tick.symbol, tick.event_ns // MINUTE_NS
        self._newest_ns = max(self._newest_ns, tick.event_ns)
        bar = self._open.get(symbol)
        if bar is None:
            self._begin(symbol, minute, tick)
            return
        if minute > bar.minute:
            if (before := self._before.pop(symbol, None)) is not None:
                self._hand_out(symbol, before)
            self._before[symbol] = bar
            self._open[symbol] = _Bar(minute, tick, is_partial=False)
            self.folded += 1
            return
        if minute < bar.minute:
            found = self._before.get(symbol)
            if found is None or found.minute != minute:
                self.late += 1
                return
            bar = found
        if tick.source is not bar.source:
            bar.is_partial = True
            self.foreign += 1
            return
        bar.fold(tick)
        self.folded += 1

    def _begin(self, symbol: str, minute: int, tick: AdmittedTick) -> None:
        closed = self._closed.get(symbol)
        if closed is not None and minute <= closed:
            self.late += 1
            return
        self._open[symbol] = _Bar(minute, tick, is_partial=closed is None)
        self.folded += 1

    def _hand_out(self, symbol: str, bar: _Bar) -> None:
        before = self._closed.get(symbol)
        self._closed[symbol] = bar.minute if before is None else max(bar.minute, before)
        done = bar.done(symbol)
        corners = Corners(bar.open, bar.high, bar.low, bar.close)
        before_ns = None if before is None else (before + 1) * MINUTE_NS
        if defect := bar_defect(corners, bar.volume, done.end_ns, before_ns):
            self.refused += 1
            self.defects.append(f"{symbol}: {defect}")
            return
        if len(self.done) >= self._done_max:
            self.done.popleft()
            self.dropped += 1
        self.done.append(done)

    def close_until(self, now_ns: int) -> None:
        """Hand out the bars whose minute and settling are over."""
        is_idle = now_ns - self._newest_ns > IDLE_SETTLES * self._settle_ns
        reached_ns = now_ns if is_idle else min(now_ns, self._newest_ns)
        last = (reached_ns - self._settle_ns) // MINUTE_NS
        for bars in (self._before, self._open):
            for symbol in [symbol for symbol, bar in bars.items() if bar.minute < last]:
                self._hand_out(symbol, bars.pop(symbol))

    def close_all(self) -> None:
        """Hand out everything, the running minutes as partial: the last word before an end."""
        for bars, is_running in ((self._before, False), (self._open, True)):
            for symbol in list(bars):
                bar = bars.pop(symbol)
                bar.is_partial = bar.is_partial or is_running
                self._hand_out(symbol, bar)

    def figures(self) -> dict[str, int]:
        """Return what was counted."""
        return {
            "folded": self.folded,
            "foreign": self.foreign,
            "late": self.late,
            "skipped": self.skipped,
            "dropped": self.dropped,
            "refused": self.refused,
            "open": len(self._open) + len(self._before),
            "waiting": len(self.done),
        }
