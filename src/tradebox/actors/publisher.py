"""Carries the admitted prices outward: one conflated batch each period, fenced by the epoch.

Rules of this file:
- nothing waits for it: a slow or dead bus means conflation in the outbox, counted there;
- the outbox is committed on the bus's answer alone, so a restarted publisher sends again;
- a bus that has lost its memory gets every last value again;
- a price that has become older than its limit goes out once more, saying so; nothing goes out as
  live that is too old when it is written, however long it waited for the bus;
- events keep their order and wait for the bus, the oldest dropped and counted beyond EVENTS_MAX.
"""

import re
from collections import deque
from dataclasses import dataclass, replace
from typing import Final

import orjson

from tradebox.actors.event_log import plain_fields
from tradebox.actors.feed_slot import AdmissionGate
from tradebox.actors.market_hub import MarketHub
from tradebox.domain.events import (
    AlertRaised,
    FeedFailover,
    PriceAgeChanged,
    PriceSourceChanged,
    ProviderChanged,
    StreamChanged,
    TickRefused,
)
from tradebox.domain.market import AdmittedTick
from tradebox.errors import BusUnavailable
from tradebox.ports.bus import BusFenced, PriceBus
from tradebox.ports.clock import MarketClock
from tradebox.supervision.actor import Actor, Context
from tradebox.supervision.events import Sink
from tradebox.supervision.reasons import ExitReason

RETRY_S_MIN = 0.1
RETRY_S_MAX = 2.0
ASSERT_S = 10.0
AGE_LOOK_S = 0.5
EVENTS_MAX: Final = 10_000
EVENTS_A_BATCH: Final = 500
EVENTS: Final = (
    FeedFailover,
    PriceAgeChanged,
    PriceSourceChanged,
    ProviderChanged,
    StreamChanged,
    TickRefused,
)
"""What must not be lost: it goes to the stream, not to the channel."""
WORD: Final = re.compile(r"(?<!^)(?=[A-Z])")


@dataclass(frozen=True, slots=True)
class Flush:
    """To self: a period is over."""


class EventBook:
    """Events that wait for the bus; outlives the publisher.

    Holds: events taken = written + waiting + dropped, unless the answer to a write was lost.
    """

    def __init__(self, events_max: int = EVENTS_MAX) -> None:
        self._events_max = events_max
        self.waiting: deque[object] = deque()
        self.taken = self.written = self.dropped = 0

    def take(self, event: object) -> None:
        """Keep an event; the oldest goes where there is no room."""
        self.taken += 1
        if len(self.waiting) >= self._events_max:
            self.waiting.popleft()
            self.dropped += 1
        self.waiting.append(event)

    def figures(self) -> dict[str, float]:
        """Return what was counted."""
        return {"written": self.written, "dropped": self.dropped, "waiting": len(self.waiting)}


class Publisher(Actor[Flush]):
    """Drains the outbox and the events to the bus. Units: period_s: between two batches."""

    mailbox_capacity = 64

    def __init__(
        self,
        bus: PriceBus,
        gate: AdmissionGate,
        hub: MarketHub,
        market_clock: MarketClock,
        period_s: float = 0.020,
        events: EventBook | None = None,
    ) -> None:
        self._bus = bus
        self._gate = gate
        self._hub = hub
        self._market_clock = market_clock
        self._period_s = period_s
        self._retry_s = RETRY_S_MIN
        self._next_s = 0.0
        self._asserted_s = float("-inf")
        self._look_s = float("-inf")
        self._aged: dict[str, tuple[int, int]] = {}
        self.events = EventBook() if events is None else events
        self._sink: Sink | None = None
        self._was_fenced = False
        self.is_up = True
        self.failures = 0
        self.batches = 0

    async def init(self, ctx: Context) -> None:
        """Start the periods."""
        self._ctx = ctx
        self._sink = ctx.events.attach(EVENTS, self.events.take)
        self._next_s = ctx.clock.now()
        self._arm(self._period_s)

    def _arm(self, wait_s: float) -> None:
        """Aim at the next period on an absolute grid; a late one is not made up for."""
        now_s = self._ctx.clock.now()
        self._next_s = max(self._next_s + wait_s, now_s + 0.001)
        self._ctx.send_after(self._next_s - now_s, Flush())

    async def handle(self, msg: Flush) -> None:
        """Write what waits."""
        del msg
        wait_s = self._period_s
        self._say_aged()
        try:
            await self._flush()
            await self._flush_events()
            self._retry_s = RETRY_S_MIN
            self.is_up = True
        except BusUnavailable:
            self.is_up = False
            self.failures += 1
            wait_s = self._retry_s
            self._retry_s = min(self._retry_s * 2, RETRY_S_MAX)
        self._arm(wait_s)

    def _say_aged(self) -> None:
        """Have each price that has aged written once more, with what it is worth now."""
        now_s = self._ctx.clock.now()
        if now_s - self._look_s < AGE_LOOK_S:
            return
        self._look_s = now_s
        aged = {tick.symbol: tick for tick in self._hub.aged()}
        told, self._aged = (
            self._aged,
            {symbol: (tick.epoch, tick.pub_seq) for symbol, tick in aged.items()},
        )
        self._gate.outbox.refill(
            replace(tick, quality=self._hub.quality_now(symbol))
            for symbol, tick in aged.items()
            if told.get(symbol) != (tick.epoch, tick.pub_seq)
        )

    async def _flush(self) -> None:
        gate = self._gate
        epoch = gate.epoch
        mark, waiting = gate.outbox.pending()
        ticks = tuple(self._dated(tick) for tick in waiting)
        now_s = self._ctx.clock.now()
        is_due = epoch >= 0 and now_s - self._asserted_s >= ASSERT_S
        if not ticks and not is_due:
            return
        answer = await self._bus.publish(epoch, ticks)
        self._asserted_s = now_s
        if isinstance(answer, BusFenced):
            self._fenced(answer)
            return
        self._was_fenced = False
        gate.outbox.commit(mark)
        self.batches += 1
        self._hub.counters.published += answer.count
        if answer.was_empty:
            written = {tick.symbol for tick in ticks}
            gate.outbox.refill(
                replace(tick, quality=self._hub.quality_now(tick.symbol))
                for tick in self._hub.lasts()
                if tick.symbol not in written
            )

    def _dated(self, tick: AdmittedTick) -> AdmittedTick:
        """Return a price with what it is worth now: it may have waited for a slow or dead bus."""
        quality = self._hub.worth_now(tick)
        return tick if quality is tick.quality else replace(tick, quality=quality)

    async def _flush_events(self) -> None:
        book, epoch = self.events, self._gate.epoch
        waiting = book.waiting
        if not waiting or epoch < 0:
            return
        events = [waiting[place] for place in range(min(EVENTS_A_BATCH, len(waiting)))]
        dropped = book.dropped
        answer = await self._bus.log(epoch, [worded(event, epoch) for event in events])
        if isinstance(answer, BusFenced):
            self._fenced(answer)
            return
        for _ in range(len(events) - (book.dropped - dropped)):
            waiting.popleft()
        book.written += answer.count

    def _fenced(self, answer: BusFenced) -> None:
        """Leave the batch for the owner of the newer epoch; if that is us, it goes out next."""
        if answer.current <= self._gate.epoch or self._was_fenced:
            return
        self._was_fenced = True
        text = f"the bus has seen epoch {answer.current}, ours is {answer.epoch}"
        at_ns = self._market_clock.now_ns()
        self._ctx.events.publish(
            AlertRaised(severity="critical", kind="bus_fenced", text=text, at_ns=at_ns)
        )

    async def terminate(self, reason: ExitReason) -> None:
        """Stop listening."""
        del reason
        if self._sink is not None:
            self._sink.close()


def worded(event: object, epoch: int) -> bytes:
    """Return an event as the stream keeps it: its name in snake case, the epoch, its fields."""
    kind = WORD.sub("_", type(event).__name__).lower()
    return orjson.dumps({"k": kind, "ep": epoch, **plain_fields(event)}, default=str)
