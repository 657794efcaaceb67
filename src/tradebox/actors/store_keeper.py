"""An actor that keeps one store: asks for signs of life, and tells when it comes and goes.

Rules of this file:
- a store that is away is no fault of its keeper: it starts degraded and never escalates;
- the store's own connections heal by themselves; the keeper only makes it be noticed soon.
"""

from typing import Any, Final

from tradebox.domain.events import StoreChanged
from tradebox.errors import BusUnavailable, StoreUnavailable
from tradebox.ports.clock import MarketClock
from tradebox.ports.journal import StoreLink
from tradebox.supervision.actor import Actor, Context, ReplyTo
from tradebox.supervision.reasons import ExitReason

PROBE_UP_S: Final = 2.0
PROBE_DOWN_S: Final = 0.5


class StoreFigures:
    """Asked of a keeper: its figures as a dict."""


class StoreKeeper(Actor[Any]):
    """Keeps one StoreLink. A probe may take as long as the link's own limit: no check-in below."""

    idle_s = 0.25

    def __init__(self, link: StoreLink, market_clock: MarketClock) -> None:
        self._link = link
        self._market_clock = market_clock
        self._ctx: Context | None = None
        self._shown: bool | None = None
        self._reason = ""
        self._next_probe_s = 0.0
        self._probes = 0
        self._changes = 0

    async def init(self, ctx: Context) -> object:
        """Be ready at once, whatever the store is doing."""
        self._ctx = ctx
        self._next_probe_s = ctx.clock.now()
        ctx.continue_with(None)
        return self._link.name

    async def handle_continue(self, token: object) -> None:  # noqa: ARG002 - the API's word
        """Ask for the first sign of life."""
        await self.tend()

    async def on_idle(self) -> None:
        """Ask again when it is time."""
        await self.tend()

    async def tend(self) -> bool:
        """Probe when it is due, tell of a change; True while the store is up."""
        ctx = self._ctx
        assert ctx is not None, "tend runs after init"
        if self._link.is_up != self._shown or ctx.clock.now() >= self._next_probe_s:
            self._probes += 1
            try:
                await self._link.probe()
            except (StoreUnavailable, BusUnavailable) as error:
                self._reason = str(error.fields.get("reason", error.message))
            else:
                self._reason = ""
            self._tell(ctx)
            wait_s = PROBE_UP_S if self._link.is_up else PROBE_DOWN_S
            self._next_probe_s = ctx.clock.now() + wait_s
        return self._link.is_up

    def _tell(self, ctx: Context) -> None:
        is_up = self._link.is_up
        if is_up == self._shown:
            return
        self._shown = is_up
        self._changes += 1
        at_ns = self._market_clock.now_ns()
        ctx.events.publish(StoreChanged(self._link.name, is_up, self._reason, at_ns))

    def figures(self) -> dict[str, object]:
        """Return what the keeper counted."""
        return {
            "store": self._link.name,
            "is_up": self._link.is_up,
            "reason": self._reason,
            "probes": self._probes,
            "changes": self._changes,
        }

    async def handle_call(self, req: Any, reply_to: ReplyTo) -> Any:
        """Answer StoreFigures."""
        if isinstance(req, StoreFigures):
            return self.figures()
        return await super().handle_call(req, reply_to)

    async def terminate(self, reason: ExitReason) -> None:
        """Let go of the connections on an ordered end; a crash leaves them to the successor."""
        if reason.expected:
            await self._link.close()
