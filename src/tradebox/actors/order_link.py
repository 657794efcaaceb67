"""The link actor: keeps one account's connection to its gateway alive, and proves that it is.

Rules of this file:
- one connection at a time, always under the same client id;
- what is away is retried in place, with full jitter and a cap; what must not be retried (another
  account, our client id taken) ends the actor for good, after an alert;
- a heartbeat that misses twice ends the connection, not the actor.
"""

import random
from collections.abc import Callable
from typing import Any, Final

from tradebox.errors import BrokerUnavailable, HaltError, HeartbeatMissed
from tradebox.execution.order_link import OrderLink
from tradebox.supervision.actor import Actor, Context
from tradebox.supervision.reasons import ExitReason

BACKOFF_FIRST_S: Final = 0.2
BACKOFF_S_MAX: Final = 15.0
_MISSES_MAX: Final = 2
_ALERT_AFTER_TRIES: Final = 5


class OrderLinkActor(Actor[Any]):
    """Child `link` of an account: connects, beats, reconnects."""

    def __init__(
        self,
        link: OrderLink,
        *,
        jitter: Callable[[], float] = random.random,
        backoff_s_max: float = BACKOFF_S_MAX,
    ) -> None:
        self._link = link
        self._jitter = jitter
        self._backoff_s_max = backoff_s_max
        self._ctx: Context | None = None

    async def init(self, ctx: Context) -> object:
        """Start connecting; the start does not wait for a gateway that may be away."""
        self._ctx = ctx
        ctx.spawn_io(self._serve(ctx))
        return None

    async def terminate(self, reason: ExitReason) -> None:
        """Drop the connection; orders rest at the broker."""
        self._link.close(f"the link stops: {reason}")

    async def _serve(self, ctx: Context) -> None:
        tries = 0
        while True:
            try:
                await self._link.connect()
            except BrokerUnavailable as error:
                tries += 1
                if tries == _ALERT_AFTER_TRIES:
                    self._link.alert("warning", "gateway_away", error.message)
                await ctx.clock.sleep(self._backoff_s(tries))
                continue
            except HaltError as error:
                self._link.alert("critical", "link_halted", error.message)
                raise
            tries = 0
            await self._beat(ctx)

    def _backoff_s(self, tries: int) -> float:
        """Full jitter: anything up to a doubling, capped bound."""
        bound = min(self._backoff_s_max, BACKOFF_FIRST_S * 2.0 ** min(tries, 16))
        return max(0.01, bound * self._jitter())

    async def _beat(self, ctx: Context) -> None:
        """Beat until the connection is over."""
        misses = 0
        while True:
            await self._link.wait_closed(ctx.clock, self._link.deadlines.heartbeat_s)
            if not self._link.is_connected:
                return
            try:
                await self._link.heartbeat()
            except HeartbeatMissed as error:
                misses += 1
                if misses >= _MISSES_MAX:
                    self._link.close(error.message)
            except BrokerUnavailable as error:
                self._link.close(error.message)
            else:
                misses = 0
