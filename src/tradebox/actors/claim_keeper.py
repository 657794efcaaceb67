"""The actor stores.claim: keeps asking for the right to act, and tells when it changes.

Rules of this file:
- it decides nothing: who sends asks the claim itself, at the moment of sending;
- while the right is not ours it asks often, because entries wait for it.
"""

from collections.abc import Callable
from typing import Any, Final

from tradebox.domain.events import AlertRaised
from tradebox.ports.claim import Claim, EngineClaim
from tradebox.ports.clock import MarketClock
from tradebox.supervision.actor import Actor, Context
from tradebox.supervision.reasons import ExitReason

HELD_S: Final = 1.0
WANTED_S: Final = 0.05
AWAY_S: Final = 0.5
UNSURE_ALERT_S: Final = 5.0
"""How long it may be unsure before a person is told: a restart of PostgreSQL is no news."""


class _Due:
    """To self: ask again."""


class ClaimKeeper(Actor[Any]):
    """Tends one EngineClaim; `on_lost` hears once why it is LOST."""

    def __init__(
        self, claim: EngineClaim, market_clock: MarketClock, on_lost: Callable[[str], object]
    ) -> None:
        self._on_lost = on_lost
        self._claim = claim
        self._market_clock = market_clock
        self._unsure_since_s: float | None = None
        self._told = Claim.HELD

    async def init(self, ctx: Context) -> object:
        """Be ready at once: PostgreSQL may be away."""
        self._ctx = ctx
        ctx.continue_with(None)
        return None

    async def handle_continue(self, token: object) -> None:
        """Ask for the first time."""
        del token
        await self._tend()

    async def handle(self, msg: Any) -> None:
        """Ask again."""
        if isinstance(msg, _Due):
            await self._tend()

    async def _tend(self) -> None:
        began_s = self._ctx.clock.now()
        claim = await self._claim.tend()
        now_s = self._ctx.clock.now()
        if claim is Claim.UNSURE:
            self._unsure_since_s = began_s if self._unsure_since_s is None else self._unsure_since_s
        else:
            self._unsure_since_s = None
        self._tell(claim, now_s)
        if claim is Claim.LOST:
            self._on_lost(self._claim.reason)
            return
        wait_s = HELD_S
        if self._unsure_since_s is not None:
            wait_s = WANTED_S if now_s - self._unsure_since_s < UNSURE_ALERT_S else AWAY_S
        self._ctx.send_after(wait_s, _Due())

    def _tell(self, claim: Claim, now_s: float) -> None:
        if claim is self._told:
            return
        since_s = self._unsure_since_s
        if since_s is not None and now_s - since_s < UNSURE_ALERT_S:
            return
        self._told = claim
        texts = {
            Claim.HELD: ("info", "this engine is the only one on its database again"),
            Claim.UNSURE: ("warning", f"no entries: {self._claim.reason}"),
            Claim.LOST: ("critical", f"nothing is sent any more: {self._claim.reason}"),
        }
        severity, text = texts[claim]
        at_ns = self._market_clock.now_ns()
        self._ctx.events.publish(AlertRaised(severity, f"engine_claim_{claim}", text, at_ns=at_ns))

    async def terminate(self, reason: ExitReason) -> None:
        """Give the right back on an ordered end; a crash leaves it to the successor."""
        if reason.expected:
            await self._claim.close()
