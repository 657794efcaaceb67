"""Tick counters in the launcher's shared memory, so that a restarted engine counts on."""

from tradebox.actors.market_hub import TickCounters
from tradebox.supervision.shm import SharedCounters

NAMES = ("received", "admitted", "published", "refused")


class SharedTickCounters(TickCounters):
    """TickCounters whose numbers live outside this process."""

    __slots__ = ("_shared",)

    def __init__(self, shared: SharedCounters) -> None:
        self._shared = {name: shared.counter(f"ticks_{name}") for name in NAMES}


def _property(name: str) -> property:
    def read(self: SharedTickCounters) -> int:
        return self._shared[name].value

    def write(self: SharedTickCounters, value: int) -> None:
        self._shared[name].set(value)

    return property(read, write)


for _name in NAMES:
    setattr(SharedTickCounters, _name, _property(_name))


def shared_tick_counters(shared: SharedCounters) -> TickCounters:
    """Return counters that outlive this engine."""
    return SharedTickCounters(shared)
