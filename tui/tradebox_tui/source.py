"""Where the console's rows come from: the reader, or a script in its place."""

from collections.abc import Sequence
from typing import Any, Protocol

from tradebox.readmodel import BarRow, EventRow, Row, StepRow


class RowSource(Protocol):
    """Rows and history by name; never fails, says what it waits for instead."""

    @property
    def waiting(self) -> str:
        """What rows wait for; empty while they come."""
        ...

    @property
    def history_waiting(self) -> str:
        """What history waits for; empty while it comes."""
        ...

    @property
    def profile(self) -> str:
        """sim, paper or live; empty while unknown."""
        ...

    @property
    def world(self) -> str:
        """SIMULATED in the stand-in world, else empty."""
        ...

    async def rows(self, names: Sequence[str]) -> dict[str, Row | None]:
        """Return each row by name."""
        ...

    async def steps(self, plan_id: str) -> list[StepRow] | None:
        """Return the steps of a plan; None while history is out of reach."""
        ...

    async def bars(
        self, symbol: str, interval_s: int, until_ns: int, count: int = 200
    ) -> list[BarRow] | None:
        """Return the last bars that ended by then; None while history is out of reach."""
        ...

    async def events(
        self,
        about: str | None = None,
        count: int = 200,
        *,
        before: int | None = None,
        after: int | None = None,
    ) -> list[EventRow] | None:
        """Return events of the journal, oldest first; None while history is out of reach."""
        ...

    async def schema(self) -> int | None:
        """Return the schema's version; None while it is not there."""
        ...

    async def runs(self) -> list[dict[str, Any]] | None:
        """Return backtests, newest first; None while history is out of reach."""
        ...

    async def results(self, run_id: str) -> list[dict[str, Any]] | None:
        """Return the stocks of a backtest, best first; None while history is out of reach."""
        ...

    async def orders(self) -> list[dict[str, Any]] | None:
        """Return the day's orders and all that work, oldest first; None while out of reach."""
        ...

    async def spread(self, run_id: str) -> list[tuple[int, int]] | None:
        """Return how many trades of a backtest lie in each bin of R; None while out of reach."""
        ...

    async def equity(self, run_id: str, symbol: str) -> list[float] | None:
        """Return a small equity curve; None while history is out of reach."""
        ...

    async def close(self) -> None:
        """Let go of the stores."""
        ...
