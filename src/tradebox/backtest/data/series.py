"""A series as a source gave it: nothing repaired yet, and what a defect of it is called.

Rules of this file:
- a value that could not be read is NaN, a day that could not be read is NO_DAY: never dropped here;
- a source that cannot be used at all is an InputError; one bad stock is a series with a problem.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from tradebox.strategies.bars import Floats

PRICES: Final = ("open", "high", "low", "close")
COLUMNS: Final = ("day", *PRICES, "volume")
NO_DAY: Final = np.iinfo(np.int32).min
"""A day that could not be read."""

Action = Literal["repaired", "refused", "noted"]


@dataclass(frozen=True, slots=True)
class Defect:
    """One kind of fault of a series: how often, and what was done about it by which rule."""

    kind: str
    count: int
    action: Action
    text: str


@dataclass(frozen=True, slots=True, eq=False)
class RawSeries:
    """A stock as its source has it.

    Units: days since 1970-01-01; splits: (day, factor) with which earlier prices are multiplied.
    adjusted: None = the source does not say. problem: why it cannot be read; then no array counts.
    is_passing: the problem may be gone next time.
    """

    symbol: str
    columns: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)
    day: NDArray[np.int32] = field(default_factory=lambda: np.empty(0, np.int32))
    adjusted: bool | None = None
    currency: str = "USD"
    factors: Sequence[tuple[int, float]] = ()
    problem: str = ""
    is_passing: bool = False


class Source(Protocol):
    """Where series are read from, one by one, so that memory stays flat."""

    can_list: bool
    """Whether it knows all its symbols."""

    @property
    def name(self) -> str:
        """What the run records, such as "parquet:bars.parquet"."""
        ...

    def fingerprint(self) -> str | None:
        """Return a text that changes when the content does; None = read it again each time."""
        ...

    def symbols(self) -> Sequence[str]:
        """Return every symbol there is, sorted; empty where the source cannot list.

        Raises: InputError.
        """
        ...

    def read(self, symbols: Sequence[str]) -> Iterator[RawSeries]:
        """Read the named stocks in any order; one that is missing comes with a problem.

        Raises: InputError when the source as a whole cannot be read.
        """
        ...


def no_such(symbol: str, name: str) -> RawSeries:
    """Return the series of a symbol the source does not have."""
    return RawSeries(symbol, problem=f"{name} has no series {symbol}")


def as_floats(values: object) -> Floats:
    """Return the values as float64 in C order."""
    return np.ascontiguousarray(values, dtype=np.float64)
