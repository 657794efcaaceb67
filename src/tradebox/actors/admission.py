"""The only way in for prices, and what waits to go out: fenced by the epoch, once per source key.

Rules of this file:
- nothing leaves but through `AdmissionGate.push` with the current epoch, once per source key;
- every method is synchronous, so each is one step on the loop;
- gate and outbox outlive the feeds, so a feed hung between admission and write loses nothing.
"""

import time
from collections.abc import Callable, Iterable
from enum import Enum
from typing import NamedTuple

from tradebox.domain.market import AdmittedTick, Quality, Source, Tick, is_older
from tradebox.domain.tier_values import TierNote
from tradebox.ports.ticks import KEY_BITS
from tradebox.supervision.gate import EpochGate


class Admission(Enum):
    """What the gate did with an outcome."""

    ADMITTED = "admitted"
    SETTLED = "settled"
    DUPLICATE = "duplicate"
    FENCED = "fenced"


class Outcome(NamedTuple):
    """One judged tick on its way: `admit` is what to let through, None for nothing.

    key and source are those of the tick that was judged, also where `admit` repeats an older
    price as suspect.
    """

    source: Source
    key: int
    admit: Tick | None
    quality: Quality
    mono_ns: int
    notes: tuple[TierNote, ...] = ()
    """What the tick changed among the sources; told by whoever settles it."""


class Outbox:
    """The newest admitted tick of each symbol that is not yet on the bus.

    Holds:   at most one tick a symbol; committed ≤ admitted; a tick leaves by commit or by a
             newer one of its symbol, which is counted; the event time of a source never falls,
             from one batch to the next either: a print that is behind is counted alone.
    """

    def __init__(self) -> None:
        self._box: dict[str, tuple[int, AdmittedTick]] = {}
        self._newest: dict[str, AdmittedTick] = {}
        self.admitted = 0
        self.committed = 0
        self.conflated = 0
        self.behind = 0

    def put(self, tick: AdmittedTick) -> None:
        """Keep an admitted tick; one that is older than what its source has shown only counts."""
        self.admitted += 1
        if is_older(tick, self._newest.get(tick.symbol)):
            self.behind += 1
            return
        self._newest[tick.symbol] = tick
        self.conflated += tick.symbol in self._box
        self._box[tick.symbol] = (self.admitted, tick)

    def pending(self) -> tuple[int, tuple[AdmittedTick, ...]]:
        """Return the mark to commit later, and what is to be written."""
        return self.admitted, tuple(tick for _, tick in self._box.values())

    def commit(self, mark: int) -> None:
        """Forget what was written up to the mark."""
        assert self.committed <= mark <= self.admitted, (self.committed, mark, self.admitted)
        self.committed = mark
        self._box = {symbol: kept for symbol, kept in self._box.items() if kept[0] > mark}

    def refill(self, ticks: Iterable[AdmittedTick]) -> None:
        """Have these last values written again, where nothing newer waits."""
        for tick in ticks:
            self._box.setdefault(tick.symbol, (self.admitted, tick))


class AdmissionGate:
    """The only way in for prices.

    Holds:   every admitted tick came from the owner of the epoch at that instant; per symbol
             pub_seq is contiguous from 1; no source key passes twice; source order is kept.
    """

    def __init__(self, epochs: EpochGate, deliver: Callable[[AdmittedTick], object]) -> None:
        self._epochs = epochs
        self._epoch = -1
        self._deliver = deliver
        self._settled: dict[Source, int] = {}
        self._pub_seq: dict[str, int] = {}
        self.outbox = Outbox()
        self.duplicates = 0
        self.fenced = 0
        self.gaps = 0

    @property
    def epoch(self) -> int:
        """The epoch in force; -1 before the first owner."""
        return self._epoch

    def acquire(self, owner: str) -> int:
        """Mint the next epoch; the old owner is deposed by this act."""
        self._epoch = self._epochs.acquire(owner)
        return self._epoch

    def settled(self, source: Source) -> int:
        """Return the key up to which this source's ticks are dealt with; 0 at first."""
        return self._settled.get(source, 0)

    def push(self, epoch: int, outcome: Outcome) -> Admission:
        """Settle one judged tick, and admit what it lets through."""
        if epoch != self._epoch:
            self.fenced += 1
            return Admission.FENCED
        source, key = outcome.source, outcome.key
        last = self._settled.get(source, 0)
        if key <= last:
            self.duplicates += 1
            return Admission.DUPLICATE
        is_same_connection = key >> KEY_BITS == last >> KEY_BITS
        before = last if is_same_connection else key >> KEY_BITS << KEY_BITS
        self.gaps += key - before - 1
        self._settled[source] = key
        tick = outcome.admit
        if tick is None:
            return Admission.SETTLED
        pub_seq = self._pub_seq.get(tick.symbol, 0) + 1
        self._pub_seq[tick.symbol] = pub_seq
        admitted = AdmittedTick(
            tick.symbol,
            tick.price_micros,
            tick.size,
            tick.event_ns,
            tick.recv_ns,
            source,
            outcome.quality,
            epoch,
            pub_seq,
            key,
            outcome.mono_ns,
            time.monotonic_ns(),
        )
        self.outbox.put(admitted)
        self._deliver(admitted)
        return Admission.ADMITTED
