"""What happened in the tree, as frozen values, and the bus that carries them.

Rules of this file:
1. Publishing never waits and never raises; a slow subscriber loses its own oldest events, counted.
2. The runtime's own events name their actor and tell the clock's seconds; the bus carries any
   object, so that others can use it for theirs.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

from tradebox.supervision.mailbox import IDLE, Mailbox, Overflow
from tradebox.supervision.reasons import ExitReason


@dataclass(frozen=True, slots=True, kw_only=True)
class ActorEvent:
    """Something happened at `at_s` (seconds of the injected clock) to the actor `name` (path)."""

    at_s: float
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ChildStarted(ActorEvent):
    """A child has acknowledged its init."""

    child_id: str
    incarnation: int
    restarts: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ChildExited(ActorEvent):
    """A child ended; `asked` tells that its supervisor wanted it."""

    child_id: str
    incarnation: int
    reason: ExitReason
    asked: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ChildRestarting(ActorEvent):
    """A child will be started again: attempt `attempt` of this failure, after `delay_s`."""

    child_id: str
    attempt: int
    delay_s: float
    reason: ExitReason


@dataclass(frozen=True, slots=True, kw_only=True)
class ChildStartFailed(ActorEvent):
    """An attempt to start a child ended in a reason."""

    child_id: str
    reason: ExitReason


@dataclass(frozen=True, slots=True, kw_only=True)
class ChildHalted(ActorEvent):
    """A child failed with a fault that forbids an automatic restart."""

    child_id: str
    reason: ExitReason


@dataclass(frozen=True, slots=True, kw_only=True)
class ChildAbandoned(ActorEvent):
    """A child was deaf to every cancellation; `zombies` live tasks are now left behind."""

    child_id: str
    incarnation: int
    zombies: int


@dataclass(frozen=True, slots=True, kw_only=True)
class IntensityReached(ActorEvent):
    """A supervisor saw more than `intensity` restarts within `period_s` and gives up."""

    intensity: int
    period_s: float
    child_id: str
    reason: ExitReason


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckinMissed(ActorEvent):
    """An actor's receive loop was silent for `age_s`, more than its limit."""

    child_id: str
    incarnation: int
    age_s: float
    limit_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class LoopLag(ActorEvent):
    """A timer of the loop came `lag_s` late; `culprit` is the frame seen meanwhile, if any."""

    lag_s: float
    culprit: str = ""


EventTypes = type | tuple[type, ...]


class Subscription:
    """A bounded queue of events for one reader; use as an async iterator, or `drain`."""

    def __init__(self, bus: EventBus, types: EventTypes, maxlen: int) -> None:
        self._bus = bus
        self._types = types
        self._box: Mailbox[object] = Mailbox(maxlen, Overflow.DROP_OLDEST)

    @property
    def dropped(self) -> int:
        """How many events this reader was too slow for."""
        return self._box.dropped

    def offer(self, event: object) -> None:
        """Take the event when it is of a wanted type."""
        if isinstance(event, self._types):
            self._box.put_nowait(event)

    def drain(self) -> list[object]:
        """Return what is waiting, oldest first."""
        taken: list[object] = []
        while (event := self._box.get_nowait()) is not IDLE:
            taken.append(event)
        return taken

    async def get(self) -> Any:
        """Wait for the next event."""
        while (event := await self._box.get()) is IDLE:
            pass
        return event

    async def __aiter__(self) -> AsyncIterator[Any]:
        while True:
            yield await self.get()

    def close(self) -> None:
        """End the subscription."""
        self._bus.detach(self)
        self._box.close()


class Sink:
    """A subscription that calls a function (for instance `ref.tell`) at once."""

    def __init__(self, bus: EventBus, types: EventTypes, call: Callable[[Any], object]) -> None:
        self._bus = bus
        self._types = types
        self._call = call

    def offer(self, event: object) -> None:
        """Pass the event on when it is of a wanted type."""
        if isinstance(event, self._types):
            self._call(event)

    def close(self) -> None:
        """End the subscription."""
        self._bus.detach(self)


class EventBus:
    """Carries events from who sees them to who asked for them, in order.

    Holds: a subscriber sees the newest `maxlen` of its events in order; the rest is counted.
    """

    def __init__(self) -> None:
        self._readers: tuple[Subscription | Sink, ...] = ()
        self.published = 0
        self.sink_faults = 0

    def publish(self, event: object) -> None:
        """Hand the event to every subscriber; a sink that raises is counted, not heard."""
        self.published += 1
        for reader in self._readers:
            try:
                reader.offer(event)
            except Exception:  # noqa: BLE001 - a broken reader must not break who publishes
                self.sink_faults += 1

    def subscribe(self, types: EventTypes = object, maxlen: int = 1024) -> Subscription:
        """Return a queue of the events of these types, at most `maxlen` waiting."""
        reader = Subscription(self, types, maxlen)
        self._readers = (*self._readers, reader)
        return reader

    def attach(self, types: EventTypes, call: Callable[[Any], object]) -> Sink:
        """Call `call` synchronously with each event of these types; it must not block."""
        sink = Sink(self, types, call)
        self._readers = (*self._readers, sink)
        return sink

    def detach(self, reader: Subscription | Sink) -> None:
        """Forget a subscriber; harmless twice."""
        self._readers = tuple(known for known in self._readers if known is not reader)
