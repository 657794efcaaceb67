"""Keeps the market clock's map fresh: in the sim, time stands still without it.

Rules of this file:
- reading the map is the only file access on the loop: one small local file, twice a second;
- for a wall clock there is nothing to do.
"""

from collections.abc import Callable

from tradebox.supervision.actor import Actor, Context

REFRESH_S = 0.5


class _Refresh:
    """To self: read the map again."""


class Timekeeper(Actor[_Refresh]):
    """Calls `refresh` twice a second."""

    def __init__(self, refresh: Callable[[], object]) -> None:
        self._refresh = refresh

    async def init(self, ctx: Context) -> None:
        """Refresh once, then regularly."""
        self._ctx = ctx
        ctx.ref.tell(_Refresh())

    async def handle(self, msg: _Refresh) -> None:
        """Read the map again."""
        del msg
        self._refresh()
        self._ctx.send_after(REFRESH_S, _Refresh())
