"""Bars of the past, folded from the replay: they are the same bars that the prints make.

Rules of this file:
- a bar is stamped at its end and shown only if it is closed at the asked time;
- intraday bars are counted from the session's open, of whole days from 04:00 on; the last bar of
  either may be short;
- minutes without trading have no bar.
"""

from collections.abc import Iterator, Sequence

from tradebox.sim.exchange.market_port import Bar
from tradebox.sim.market import hours
from tradebox.sim.market.paths import Corners, fold
from tradebox.sim.market.replay import QuotedPrint, Replay

DAY_S = 86_400
MINUTE_S = 60
COUNT_MAX = 100_000


class History:
    """Answers for any number of bars that end at or before a market time."""

    def __init__(self, replay: Replay) -> None:
        self._replay = replay
        self._increments = {
            one.instrument.symbol: one.instrument.increment_micros for one in replay.series
        }

    def bars(
        self,
        symbol: str,
        interval_s: int,
        end_ns: int,
        count: int,
        until: int | None = None,
        *,
        is_whole: bool = False,
    ) -> list[Bar]:
        """Return at most `count` closed bars that end at or before `end_ns`, oldest first.

        until: the session in whose shares the bars are said; none: those of their own time.
        is_whole: bars of before and after the session too; days are always the session's.
        """
        is_whole = is_whole and self._replay.is_whole and interval_s < DAY_S
        wanted = min(count, COUNT_MAX)
        found: list[Bar] = []
        if wanted <= 0 or not is_possible(interval_s):
            return found
        number = hours.session_of(end_ns, is_whole=is_whole).number
        while number >= self._replay.first_number and len(found) < wanted:
            session = hours.session(number)
            begun = _begun(session, end_ns, is_whole=is_whole)
            for bar in self._backwards(symbol, interval_s, session, begun):
                if bar.end_ns <= end_ns:
                    found.append(self._adjusted(symbol, number, until, bar))
                if len(found) == wanted:
                    break
            number -= 1
        return found[::-1]

    def prints(
        self, symbol: str, after_ns: int, until_ns: int, count: int, *, is_whole: bool
    ) -> list[QuotedPrint]:
        """Return the prints after one time and not after another, oldest first.

        At most `count`: the oldest ones, of a negative count the latest ones; prices are those
        that were said then. Sessions before the first of the replay have none.
        """
        wanted = min(abs(count), COUNT_MAX)
        found: list[QuotedPrint] = []
        first = hours.session(self._replay.first_number).open_ns
        is_whole = is_whole and self._replay.is_whole
        since_ns = max(after_ns, first)
        minutes = _minutes_between(since_ns, until_ns, is_backwards=count < 0, is_whole=is_whole)
        for number, minute in minutes if wanted else ():
            prints = self._replay.prints(symbol, number, minute)
            inside = [one for one in prints if after_ns < one.event_ns <= until_ns]
            found += inside if count > 0 else inside[::-1]
            if len(found) >= wanted:
                break
        return found[:wanted] if count > 0 else found[:wanted][::-1]

    def _adjusted(self, symbol: str, number: int, until: int | None, bar: Bar) -> Bar:
        if until is None:
            return bar
        increment = self._increments[symbol]
        return self._replay.actions.adjust(symbol, number, until, bar, increment)

    def _backwards(
        self, symbol: str, interval_s: int, session: hours.Hours, begun: range
    ) -> Iterator[Bar]:
        """Yield a session's bars, latest first, of the minutes that have begun."""
        if interval_s == DAY_S:
            corners = self._replay.day(symbol, session.number)
            yield self._bar(symbol, session.close_ns, corners)
        elif interval_s % MINUTE_S == 0:
            yield from self._minutes(symbol, interval_s // MINUTE_S, session, begun)
        else:
            yield from self._parts(symbol, interval_s * hours.SECOND_NS, session, begun)

    def _minutes(self, symbol: str, step: int, session: hours.Hours, begun: range) -> Iterator[Bar]:
        minutes = self._replay.minutes(symbol, session.number)
        last = session.minutes_played(is_whole=begun.start < 0).stop
        for start in reversed(range(begun.start, begun.stop, step)):
            end = min(start + step, last)
            found = (
                *self._outside(symbol, session, range(start, min(end, 0))),
                *minutes[max(0, start) : max(0, end)],
                *self._outside(symbol, session, range(max(start, len(minutes)), end)),
            )
            traded = [bar for bar in found if bar is not None]
            if traded:
                yield self._bar(symbol, session.open_ns + end * hours.MINUTE_NS, fold(traded))

    def _outside(
        self, symbol: str, session: hours.Hours, minutes: range
    ) -> Iterator[Corners | None]:
        """Yield the bars of minutes before or after a session."""
        return (self._replay.bar_outside(symbol, session.number, one) for one in minutes)

    def _parts(
        self, symbol: str, step_ns: int, session: hours.Hours, begun: range
    ) -> Iterator[Bar]:
        increment = self._increments[symbol]
        for minute in reversed(begun):
            start_ns = session.open_ns + minute * hours.MINUTE_NS
            parts: dict[int, list[QuotedPrint]] = {}
            for one in self._replay.prints(symbol, session.number, minute):
                parts.setdefault((one.event_ns - start_ns) // step_ns, []).append(one)
            for part in sorted(parts, reverse=True):
                corners = [_corners(one, increment) for one in parts[part]]
                yield self._bar(symbol, start_ns + (part + 1) * step_ns, fold(corners))

    def _bar(self, symbol: str, end_ns: int, corners: Corners) -> Bar:
        increment = self._increments[symbol]
        return Bar(
            end_ns,
            corners.open * increment,
            corners.high * increment,
            corners.low * increment,
            corners.close * increment,
            corners.volume,
        )


def is_possible(interval_s: int) -> bool:
    """Say whether bars of that length exist: a day, whole minutes, or a part of a minute."""
    if interval_s <= 0:
        return False
    if interval_s >= DAY_S:
        return interval_s == DAY_S
    return interval_s % MINUTE_S == 0 or MINUTE_S % interval_s == 0


def fold_bars(bars: Sequence[Bar]) -> Bar:
    """Return the one bar that covers the given ones, oldest first."""
    return Bar(
        bars[-1].end_ns,
        bars[0].open_micros,
        max(bar.high_micros for bar in bars),
        min(bar.low_micros for bar in bars),
        bars[-1].close_micros,
        sum(bar.volume for bar in bars),
    )


def _minutes_between(
    since_ns: int, until_ns: int, *, is_backwards: bool, is_whole: bool
) -> Iterator[tuple[int, int]]:
    """Yield session number and minute of what lies between two times, in the wanted order."""
    if until_ns < since_ns:
        return
    first = hours.session_of(since_ns, is_whole=is_whole).number
    last = hours.session_of(until_ns, is_whole=is_whole).number
    numbers = range(first, last + 1)
    for number in reversed(numbers) if is_backwards else numbers:
        session = hours.session(number)
        begun = _begun(session, until_ns + 1, is_whole=is_whole)
        begin = max(begun.start, (since_ns - session.open_ns) // hours.MINUTE_NS)
        minutes = range(begin, begun.stop)
        for minute in reversed(minutes) if is_backwards else minutes:
            yield number, minute


def _begun(session: hours.Hours, at_ns: int, *, is_whole: bool) -> range:
    """Return the minutes of a session that have begun at a time, counted from its open."""
    played = session.minutes_played(is_whole=is_whole)
    end = -(-(at_ns - session.open_ns) // hours.MINUTE_NS)
    return range(played.start, min(played.stop, max(played.start, end)))


def _corners(one: QuotedPrint, increment: int) -> Corners:
    price = one.price_micros // increment
    return Corners(price, price, price, price, one.size)
