"""Figures of the engine, written to the log at a steady pace.

Rules of this file:
- a leaf: it reads counters that others keep, and keeps none;
- a source of figures is a function that neither blocks nor raises.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from loguru import logger

from tradebox.supervision.actor import Actor, Context

Figures = Callable[[], Mapping[str, float]]


@dataclass(frozen=True, slots=True)
class ReportDue:
    """To self: a period is over."""


class Metrics(Actor[ReportDue]):
    """Logs every source's figures each period.

    Units: period_s in real seconds.
    """

    def __init__(self, sources: Mapping[str, Figures], period_s: float = 10.0) -> None:
        self._sources = dict(sources)
        self._period_s = period_s

    async def init(self, ctx: Context) -> None:
        """Start the periods."""
        self._ctx = ctx
        ctx.send_after(self._period_s, ReportDue())

    async def handle(self, msg: ReportDue) -> None:
        """Write one line."""
        del msg
        logger.bind(**self.figures()).info("metrics")
        self._ctx.send_after(self._period_s, ReportDue())

    def figures(self) -> dict[str, float]:
        """Return every figure as source.name."""
        return {
            f"{source}.{name}": value
            for source, read in self._sources.items()
            for name, value in read().items()
        }
