"""Shared memory of launcher and engine: check-in slots and counters, by name.

Rules of this file:
1. One writer (the engine), any number of readers (the launcher); nobody waits for anybody.
2. The map is anonymous and shared: it is made before the first fork and outlives every engine.
3. Slots are wiped for each new engine; counters go on.
4. A name is written before its entry is marked used, so a reader never sees half a name.
"""

from __future__ import annotations

import mmap
from dataclasses import dataclass
from typing import Final

SLOTS_MAX: Final = 256
COUNTERS_MAX: Final = 256
NAME_BYTES_MAX: Final = 94
LOOP_SLOT: Final = "loop"
"""The slot that the engine's event loop itself writes; the leash hangs on it."""

_NAME_BYTES: Final = 96
_WORD: Final = 8
_SLOT_WORDS: Final = 5  # used, last_ns, limit_ns, incarnation, ticket
_COUNTER_WORDS: Final = 2  # used, value
_USED, _LAST, _LIMIT, _INCARNATION, _TICKET = 0, 1, 2, 3, 4
_VALUE: Final = 1


@dataclass(frozen=True, slots=True)
class SlotReading:
    """One slot as a reader saw it.

    Units: last_ns on the monotonic clock, 0 before the first check-in; limit_ns a duration,
    the longest silence that the process itself allows, 0 when it sets none.
    """

    name: str
    last_ns: int
    limit_ns: int
    incarnation: int


class _Table:
    """Entries of `words` int64 with a name each, in one shared map."""

    def __init__(self, entries: int, words: int) -> None:
        self.entries = entries
        self.words = words
        ints_bytes = entries * words * _WORD
        self._map = mmap.mmap(-1, ints_bytes + entries * _NAME_BYTES)
        view = memoryview(self._map)
        self.ints = view[:ints_bytes].cast("q")
        self._names = view[ints_bytes:]

    def name(self, entry: int) -> str:
        start = entry * _NAME_BYTES
        length = self._names[start]
        return bytes(self._names[start + 1 : start + 1 + length]).decode("utf-8", "replace")

    def find(self, name: str) -> int | None:
        for entry in range(self.entries):
            if self.ints[entry * self.words + _USED] and self.name(entry) == name:
                return entry
        return None

    def claim(self, name: str) -> int | None:
        """Return the entry of `name`, a free one when it is new, None without room."""
        raw = name.encode()
        if not 0 < len(raw) <= NAME_BYTES_MAX:
            return None
        found = self.find(name)
        if found is not None:
            return found
        for entry in range(self.entries):
            if not self.ints[entry * self.words + _USED]:
                start = entry * _NAME_BYTES
                self._names[start + 1 : start + 1 + len(raw)] = raw
                self._names[start] = len(raw)
                for word in range(1, self.words):
                    self.ints[entry * self.words + word] = 0
                self.ints[entry * self.words + _USED] = 1
                return entry
        return None

    def used(self) -> list[int]:
        return [e for e in range(self.entries) if self.ints[e * self.words + _USED]]

    def wipe(self) -> None:
        for word in range(self.entries * self.words):
            self.ints[word] = 0


class SharedSlot:
    """The writer's end of one slot; of no effect once somebody else has opened the entry."""

    __slots__ = ("_at", "_ints", "_ticket")

    def __init__(self, ints: memoryview[int], at: int, ticket: int) -> None:
        self._ints = ints
        self._at = at
        self._ticket = ticket

    @property
    def _is_mine(self) -> bool:
        return self._ints[self._at + _TICKET] == self._ticket

    def write(self, now_s: float) -> None:
        """Note a check-in at `now_s` seconds of the monotonic clock."""
        if self._is_mine:
            self._ints[self._at + _LAST] = int(now_s * 1_000_000_000)

    def close(self) -> None:
        """Give the slot back; harmless twice."""
        if self._is_mine:
            self._ints[self._at + _TICKET] = 0
            self._ints[self._at + _USED] = 0


class SharedSlots:
    """Hands out slots in shared memory.

    Holds: a reading belongs to the last incarnation that opened the name.
    """

    def __init__(self) -> None:
        self._table = _Table(SLOTS_MAX, _SLOT_WORDS)
        self._ticket = 0

    def open(self, name: str, incarnation: int, limit_s: float) -> SharedSlot | None:
        """Return the slot of an actor watched with this limit, None when there is no room."""
        entry = self._table.claim(name)
        if entry is None:
            return None
        at = entry * _SLOT_WORDS
        ints = self._table.ints
        ints[at + _LAST] = 0
        ints[at + _LIMIT] = int(limit_s * 1_000_000_000)
        ints[at + _INCARNATION] = incarnation
        self._ticket += 1
        ints[at + _TICKET] = self._ticket
        return SharedSlot(ints, at, self._ticket)

    def read(self) -> list[SlotReading]:
        """Return every open slot, in the order of the table."""
        ints = self._table.ints
        found: list[SlotReading] = []
        for entry in self._table.used():
            at = entry * _SLOT_WORDS
            found.append(
                SlotReading(
                    self._table.name(entry),
                    ints[at + _LAST],
                    ints[at + _LIMIT],
                    ints[at + _INCARNATION],
                )
            )
        return found

    def wipe(self) -> None:
        """Forget every slot: a new engine begins."""
        self._table.wipe()


class SharedCounter:
    """A number that only its writer moves and that outlives the writer."""

    __slots__ = ("_at", "_ints")

    def __init__(self, ints: memoryview[int], at: int) -> None:
        self._ints = ints
        self._at = at

    @property
    def value(self) -> int:
        """Return the number."""
        return self._ints[self._at]

    def add(self, amount: int = 1) -> None:
        """Add `amount`."""
        self._ints[self._at] += amount

    def set(self, value: int) -> None:
        """Replace the number."""
        self._ints[self._at] = value


class SharedCounters:
    """Counters by name.

    Holds: the sum of all `add` of a name over all engines is its value.
    """

    def __init__(self) -> None:
        self._table = _Table(COUNTERS_MAX, _COUNTER_WORDS)
        self._known: dict[str, SharedCounter] = {}

    def counter(self, name: str) -> SharedCounter:
        """Return the counter of this name, made at 0 when it is new.

        Raises: KeyError when the name is too long or the table is full.
        """
        known = self._known.get(name)
        if known is None:
            entry = self._table.claim(name)
            if entry is None:
                raise KeyError(name)
            known = SharedCounter(self._table.ints, entry * _COUNTER_WORDS + _VALUE)
            self._known[name] = known
        return known

    def add(self, name: str, amount: int = 1) -> None:
        """Add `amount` to the counter of this name."""
        self.counter(name).add(amount)

    def values(self) -> dict[str, int]:
        """Return every counter's value."""
        ints = self._table.ints
        return {self._table.name(e): ints[e * _COUNTER_WORDS + _VALUE] for e in self._table.used()}
