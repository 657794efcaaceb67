"""Carries the admitted prices outward: one conflated batch each period, fenced by the epoch.

Rules of this file:
- nothing waits for it: a slow or dead bus means conflation in the outbox, counted there;
- the outbox is committed on the bus's answer alone, so a restarted publisher sends again;
- a bus that has lost its memory gets every last value again.
"""

from dataclasses import dataclass

from tradebox.actors.feed_slot import AdmissionGate
from tradebox.actors.market_hub import MarketHub
from tradebox.domain.events import AlertRaised
from tradebox.errors import BusUnavailable
from tradebox.ports.bus import BusFenced, PriceBus
from tradebox.ports.clock import MarketClock
from tradebox.supervision.actor import Actor, Context

RETRY_S_MIN = 0.1
RETRY_S_MAX = 2.0
ASSERT_S = 10.0


@dataclass(frozen=True, slots=True)
class Flush:
    """To self: a period is over."""


class Publisher(Actor[Flush]):
    """Drains the outbox to the bus.

    Units: period_s: the time between two batches.
    """

    mailbox_capacity = 64

    def __init__(
        self,
        bus: PriceBus,
        gate: AdmissionGate,
        hub: MarketHub,
        market_clock: MarketClock,
        period_s: float = 0.020,
    ) -> None:
        self._bus = bus
        self._gate = gate
        self._hub = hub
        self._market_clock = market_clock
        self._period_s = period_s
        self._retry_s = RETRY_S_MIN
        self._next_s = 0.0
        self._asserted_s = float("-inf")
        self._was_fenced = False
        self.is_up = True
        self.failures = 0
        self.batches = 0

    async def init(self, ctx: Context) -> None:
        """Start the periods."""
        self._ctx = ctx
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
        try:
            await self._flush()
            self._retry_s = RETRY_S_MIN
            self.is_up = True
        except BusUnavailable:
            self.is_up = False
            self.failures += 1
            wait_s = self._retry_s
            self._retry_s = min(self._retry_s * 2, RETRY_S_MAX)
        self._arm(wait_s)

    async def _flush(self) -> None:
        gate = self._gate
        epoch = gate.epoch
        mark, ticks = gate.outbox.pending()
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
            gate.outbox.refill(tick for tick in self._hub.lasts() if tick.symbol not in written)

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
