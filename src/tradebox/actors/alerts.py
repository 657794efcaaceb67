"""What a person should know: the runtime's grave events as alerts, and every alert in the log.

Rules of this file:
- a leaf: nothing waits for it; the rows are the journal keeper's, who reads the same bus;
- the runtime's grave events become alerts here, so that every watcher sees one kind of thing;
- the same alert within `REPEAT_S` is counted, and logged with the next one.
"""

from loguru import logger

from tradebox.domain.events import AlertRaised
from tradebox.ports.clock import MarketClock
from tradebox.supervision.actor import Actor, Context
from tradebox.supervision.events import ChildAbandoned, ChildHalted, IntensityReached, Sink
from tradebox.supervision.mailbox import Overflow
from tradebox.supervision.reasons import ExitReason

REPEAT_S = 30.0
KNOWN_MAX = 512
LEVELS = {"info": "INFO", "warning": "WARNING", "critical": "ERROR"}

Grave = ChildAbandoned | ChildHalted | IntensityReached


class Alerts(Actor[AlertRaised | Grave]):
    """Turns grave events into AlertRaised and logs every alert.

    Holds: an alert is logged at most once per REPEAT_S; what was held back is counted in the
           next line of the same alert.
    """

    mailbox_capacity = 4096
    overflow = Overflow.DROP_OLDEST

    def __init__(self, market_clock: MarketClock) -> None:
        self._market_clock = market_clock
        self._told: dict[tuple[str, str, str], tuple[float, int]] = {}
        self._sink: Sink | None = None
        self.logged = 0

    async def init(self, ctx: Context) -> None:
        """Subscribe."""
        self._ctx = ctx
        kinds = (AlertRaised, ChildAbandoned, ChildHalted, IntensityReached)
        self._sink = ctx.events.attach(kinds, ctx.ref.tell)

    async def handle(self, msg: AlertRaised | Grave) -> None:
        """Log an alert; publish one for a grave event."""
        if isinstance(msg, AlertRaised):
            self._log(msg)
        else:
            self._ctx.events.publish(self._alert_of(msg))

    def _alert_of(self, event: Grave) -> AlertRaised:
        if isinstance(event, ChildAbandoned):
            kind, text = "actor_abandoned", f"{event.name}: {event.zombies} zombies"
        elif isinstance(event, ChildHalted):
            kind, text = "actor_halted", f"{event.name}: {event.reason}"
        else:
            kind = "restart_intensity"
            text = f"{event.name}: {event.intensity} in {event.period_s:g} s, {event.reason}"
        return AlertRaised("critical", kind, text, at_ns=self._market_clock.now_ns())

    def _log(self, alert: AlertRaised) -> None:
        now_s = self._ctx.clock.now()
        key = (alert.kind, alert.text, alert.symbol or "")
        told_s, repeats = self._told.get(key, (float("-inf"), 0))
        if now_s - told_s < REPEAT_S:
            self._told[key] = (told_s, repeats + 1)
            return
        if len(self._told) >= KNOWN_MAX:
            self._told.clear()
        self._told[key] = (now_s, 0)
        self.logged += 1
        logger.bind(
            kind=alert.kind,
            account=alert.account,
            symbol=alert.symbol,
            repeats=repeats,
            details=dict(alert.fields),
        ).log(LEVELS.get(alert.severity, "WARNING"), "alert: {}", alert.text)

    async def terminate(self, reason: ExitReason) -> None:
        """Unsubscribe."""
        del reason
        if self._sink is not None:
            self._sink.close()
