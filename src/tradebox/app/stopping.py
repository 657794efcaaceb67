"""An ordered stop: controllers finish the procedure they are in, then the tree goes down.

Rules of this file:
- a stop in the middle of a slice or an exit would leave shares without a stop: so it waits, for
  DRAIN_S at most; what is not done by then is finished by the next start's recovery;
- a second request stops at once.
"""

import asyncio
from typing import TYPE_CHECKING

from loguru import logger

from tradebox.actors.controller import Drain
from tradebox.app.trading import account_names
from tradebox.supervision.errors import ActorDown, AskTimeout, MailboxFull
from tradebox.supervision.tree import Runtime

if TYPE_CHECKING:
    from tradebox.app.engine import Plant

DRAIN_S = 1.5


class Stopper:
    """Takes the stop signals of one engine."""

    def __init__(self, plant: "Plant", runtime: Runtime) -> None:
        self._plant = plant
        self._runtime = runtime
        self._draining: asyncio.Task[None] | None = None

    def request(self) -> None:
        """Stop in order; called by a signal handler, any number of times."""
        if self._draining is None:
            self._draining = asyncio.get_running_loop().create_task(self._drain_and_stop())
        else:
            self._runtime.request_stop()

    async def _drain_and_stop(self) -> None:
        names = [f"trading.{name.value}.controller" for name in account_names(self._plant)]
        await asyncio.gather(*(self._drain(name) for name in names))
        self._runtime.request_stop()

    async def _drain(self, name: str) -> None:
        try:
            await self._runtime.registry.via(name).ask(Drain(), DRAIN_S)
        except (ActorDown, AskTimeout, MailboxFull) as error:
            logger.bind(actor=name, reason=str(error)).warning("not_drained")
