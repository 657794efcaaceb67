"""When is a silent process hung? The launcher's judgement, without any I/O.

Rules of this file:
1. The loop's own slot is judged by the leash; any other slot by twice the limit it carries,
   because the process itself must act first.
   Of the quorum one member must be heard within one and a half limits, present or not.
2. A slot that never checked in is not judged: starting has a deadline of its own.
3. Who was itself not on time judges nobody: after a late turn (a stopped launcher, a frozen
   machine) everybody gets one leash to show up again.
4. Ages are taken at the moment the turn began, never later: a launcher that is stopped in the
   middle of a turn learns of it only when the next one begins.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from tradebox.supervision.shm import LOOP_SLOT, SlotReading

SLACK_NS_MIN: Final = 20_000_000
ACTOR_FACTOR: Final = 2


@dataclass(frozen=True, slots=True)
class Overdue:
    """A slot whose silence is longer than allowed. Units: nanoseconds."""

    name: str
    age_ns: int
    limit_ns: int


class Leash:
    """Judges slots against the monotonic clock.

    Units: nanoseconds.
    Holds: nobody is overdue within a leash after a late turn; a slot younger than its limit
           is never overdue; a loop silent for longer than the leash is, when turns are on time.
    """

    def __init__(self, leash_ns: int, quorum: Iterable[str] = ()) -> None:
        self._leash_ns = leash_ns
        self._slack_ns = max(leash_ns // 4, SLACK_NS_MIN)
        self._turn_ns: int | None = None
        self._blind_until_ns = 0
        self.late_turns = 0
        self._quorum = tuple(quorum)
        self._heard_ns = 0
        self._quorum_limit_ns = 0

    def forget(self) -> None:
        """Begin anew: another process writes the slots now."""
        self._heard_ns = 0

    def turned(self, now_ns: int, planned_ns: int) -> None:
        """Note that the launcher is awake, having meant to wait `planned_ns` at most."""
        if self._turn_ns is not None and now_ns - self._turn_ns > planned_ns + self._slack_ns:
            self._blind_until_ns = now_ns + self._leash_ns
            self.late_turns += 1
        self._turn_ns = now_ns

    def _limit_ns(self, reading: SlotReading) -> int:
        if reading.name == LOOP_SLOT:
            return self._leash_ns
        return reading.limit_ns * ACTOR_FACTOR

    def _judged(self, readings: Iterable[SlotReading]) -> Iterable[tuple[SlotReading, int]]:
        for reading in readings:
            limit_ns = self._limit_ns(reading)
            if reading.last_ns > 0 and limit_ns > 0:
                yield reading, limit_ns

    def overdue(self, readings: Iterable[SlotReading]) -> Overdue | None:
        """Return a slot that was silent for too long in this turn, the loop's before any other."""
        now_ns = self._turn_ns
        if now_ns is None or now_ns < self._blind_until_ns:
            return None
        worst: Overdue | None = None
        for reading, limit_ns in self._judged(readings):
            age_ns = now_ns - reading.last_ns
            if age_ns > limit_ns:
                late = Overdue(reading.name, age_ns, limit_ns)
                if reading.name == LOOP_SLOT:
                    return late
                worst = worst or late
        return worst or self._quorum_overdue(readings, now_ns)

    def _quorum_overdue(self, readings: Iterable[SlotReading], now_ns: int) -> Overdue | None:
        """Judge the members of the quorum as one: absent or silent, all of them."""
        for reading in readings:
            if reading.name in self._quorum and reading.last_ns > 0:
                self._heard_ns = max(self._heard_ns, reading.last_ns)
                self._quorum_limit_ns = reading.limit_ns * 3 // 2
        age_ns = now_ns - self._heard_ns
        if not self._heard_ns or age_ns <= self._quorum_limit_ns:
            return None
        return Overdue(" and ".join(self._quorum), age_ns, self._quorum_limit_ns)

    def next_look_ns(self, readings: Iterable[SlotReading]) -> int | None:
        """Return when a slot could become overdue at the earliest, None when none is judged."""
        due = [r.last_ns + limit_ns for r, limit_ns in self._judged(readings)]
        return max(min(due), self._blind_until_ns) + 1 if due else None
