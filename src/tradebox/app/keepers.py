"""What keeps prices: minute bars, the tape, events for the stream, past days; and their figures.

Rules of this file:
- the books are made once per engine and outlive the actors that empty them.
"""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from tradebox.actors.bars import Bars
from tradebox.actors.past_bars import PastBars
from tradebox.actors.publisher import EventBook, Publisher
from tradebox.actors.recorder import Recorder, TapeBook
from tradebox.adapters.postgres.bars import PgMinuteBars
from tradebox.domain.minute_bars import SETTLE_NS, BarBook
from tradebox.supervision.actor import Actor

if TYPE_CHECKING:
    from tradebox.app.engine import Plant


class Keepers:
    """The books of one engine, and the actors over them."""

    def __init__(self, plant: "Plant") -> None:
        scale = max(1.0, plant.market_clock.speed)
        self._plant = plant
        self._bars = BarBook(round(SETTLE_NS * scale))
        self._tape = TapeBook()
        self._events = EventBook()

    def publisher(self) -> Publisher:
        """Return a new publisher."""
        plant = self._plant
        period_s = plant.settings.feed.publish_period_ms / 1000
        return Publisher(
            plant.prices, plant.slot.gate, plant.hub, plant.market_clock, period_s, self._events
        )

    def actors(self) -> dict[str, Callable[[], Actor[Any]]]:
        """Return what the settings switch on, by the name of the child."""
        settings = self._plant.settings
        found: dict[str, Callable[[], Actor[Any]]] = {}
        if settings.bars.enabled:
            found["bars"] = self._keep_bars
        if settings.profile != "sim":
            found["past_bars"] = self._read_past_bars
        if settings.tape.enabled:
            found["recorder"] = self._record
        return found

    def _keep_bars(self) -> Bars:
        plant = self._plant
        days = plant.settings.bars.retention_days
        return Bars(self._bars, PgMinuteBars(plant.pool), plant.hub, plant.market_clock, days)

    def _read_past_bars(self) -> PastBars:
        plant = self._plant
        return PastBars(plant.past_bars, plant.hub.wanted, plant.reference, plant.market_clock)

    def _record(self) -> Recorder:
        plant = self._plant
        files = plant.settings.tape.days_max
        return Recorder(self._tape, plant.home.tape_dir, plant.hub, plant.market_clock, files)

    def figures(self) -> dict[str, Callable[[], Mapping[str, float]]]:
        """Return what each book counted, and what conflated on its way out."""
        outbox, tape = self._plant.slot.gate.outbox, self._tape
        return {
            "bars": self._bars.figures,
            "tape": lambda: {"taken": tape.taken, "dropped": tape.dropped},
            "stream": self._events.figures,
            "outbox": lambda: {"admitted": outbox.admitted, "conflated": outbox.conflated},
        }
