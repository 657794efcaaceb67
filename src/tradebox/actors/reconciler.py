"""The reconciler: reads the whole account whenever something may have been missed.

Rules of this file:
- it only reads; what a snapshot means is decided in the order path, which gets it as a fact;
- looks that are asked for while one runs are one look;
- looks have a share of the gateway's pace: what is more waits, and becomes one look meanwhile,
  sooner where something presses by then;
- three reads in a row that are not complete end the connection: a mute gateway is no flat account.
"""

import asyncio
from typing import Any, Final

from tradebox.errors import BrokerUnavailable
from tradebox.execution.order_link import OrderLink
from tradebox.supervision.actor import Actor, Context
from tradebox.supervision.reasons import ExitReason

_FAILURES_MAX: Final = 3
_RETRY_S: Final = 1.0
_GAP_S: Final = 0.05
"""Between two looks, so that many reasons at once become one read."""


class ReconcilerActor(Actor[Any]):
    """Child `reconciler` of an account."""

    def __init__(self, link: OrderLink) -> None:
        self._link = link
        self._wanted = asyncio.Event()
        self._turn = asyncio.Event()

    async def init(self, ctx: Context) -> object:
        """Start to listen for looks."""
        self._link.on_look_wanted(self._wake)
        ctx.spawn_io(self._serve(ctx))
        return None

    async def terminate(self, reason: ExitReason) -> None:
        """Stop listening."""
        del reason
        self._link.on_look_wanted(lambda: None)

    def _wake(self) -> None:
        self._wanted.set()
        self._turn.set()

    async def _serve(self, ctx: Context) -> None:
        failures = 0
        while True:
            await self._wanted.wait()
            await self._wait_for_turn(ctx)
            self._wanted.clear()
            if not (self._link.is_connected and self._link.has_listener):
                continue
            try:
                taken = await self._link.take_snapshot()
            except BrokerUnavailable as error:
                failures += 1
                if failures >= _FAILURES_MAX and self._link.is_connected:
                    self._link.alert("critical", "gateway_mute", error.message)
                    self._link.close("no complete snapshot")
                    failures = 0
                await self._again(ctx)
                continue
            failures = 0
            if not taken:
                await self._again(ctx)
            await ctx.clock.sleep(_GAP_S)

    async def _wait_for_turn(self, ctx: Context) -> None:
        while wait_s := self._link.look_wait_s():
            self._turn.clear()
            timer = ctx.clock.call_at(ctx.clock.now() + wait_s, self._turn.set)
            try:
                await self._turn.wait()
            finally:
                timer.cancel()

    async def _again(self, ctx: Context) -> None:
        await ctx.clock.sleep(_RETRY_S)
        self._link.want_look("the last read was not complete")
