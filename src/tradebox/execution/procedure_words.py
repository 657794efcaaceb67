"""What the procedures of a plan are made of: their patience, their actions, their progress.

Rules of this file:
- an action is a wish that the order path gates, records and sends; nothing happens here.
"""

from dataclasses import dataclass, field
from decimal import Decimal

from tradebox.domain.orders import OrderRole, Side
from tradebox.execution.order_book import OrderRecord


@dataclass(frozen=True, slots=True)
class Patience:
    """Real seconds before the next step is taken without the fact that was hoped for."""

    entry_partial_s: float = 10.0
    """For the rest of a partly filled entry."""
    entry_bare_s: float = 2.0
    """The same, while no armed stop covers the part: it is not to be bare for 5 s."""
    cascade_s: float = 0.5
    """For the broker to cancel or arm a child after its parent ended."""
    change_s: float = 3.0
    """For the echo of a modify."""
    look_s: float = 2.0
    """Between two looks while something is awaited."""
    exit_s: float = 4.0
    """From the stop's cancel to giving it back."""
    retry_s: float = 1.0
    """Between two tries of what was denied."""
    halt_s: float = 2.0
    """Between two tries to give the shares a stop that a halt refused."""
    exit_tries_max: int = 3
    stop_failures_max: int = 2


@dataclass(frozen=True, slots=True)
class PlaceStop:
    """Send a standalone stop."""

    side: Side
    quantity: int
    stop_price: Decimal
    reason: str


@dataclass(frozen=True, slots=True)
class ChangeStop:
    """Modify a resting stop; quantity is its new total."""

    record: OrderRecord
    quantity: int
    stop_price: Decimal
    reason: str


@dataclass(frozen=True, slots=True)
class FireStop:
    """Move a resting stop's trigger through the market, so that it fires now."""

    record: OrderRecord
    reason: str


@dataclass(frozen=True, slots=True)
class CancelOrder:
    """Cancel an order of ours."""

    record: OrderRecord
    reason: str


@dataclass(frozen=True, slots=True)
class PlaceReducer:
    """Send a marketable IOC limit."""

    role: OrderRole
    side: Side
    quantity: int
    reason: str


@dataclass(frozen=True, slots=True)
class Look:
    """Read the broker's lists.

    is_pressing: an exit or a missing stop waits for nothing else, and for no more of the lists
    than what is open and what is held.
    """

    reason: str
    is_pressing: bool = False


@dataclass(frozen=True, slots=True)
class Finish:
    """A procedure ended."""

    kind: str
    filled: int
    reason: str


@dataclass(frozen=True, slots=True)
class Alarm:
    """A person must know."""

    severity: str
    kind: str
    text: str


Action = PlaceStop | ChangeStop | FireStop | CancelOrder | PlaceReducer | Look | Finish | Alarm


@dataclass(slots=True)
class Enter:
    """An entry is at work, from its send to its covered end."""

    cancel_wanted: str = ""
    partial_since_s: float | None = None
    bare_since_s: float | None = None
    ended_s: float | None = None
    is_shrunk: bool = False


@dataclass(slots=True)
class MoveStop:
    """The stop goes to a new trigger."""

    stop_price: Decimal
    reason: str


@dataclass(slots=True)
class ScaleOut:
    """A slice goes: shrink the stop, send the slice, give the rest its stop."""

    quantity: int
    reason: str
    phase: str = "shrink"
    slice_ref: str = ""


@dataclass(slots=True)
class Exit:
    """All goes: clear entry and stop, read, send, repeat, give back."""

    reason: str
    kind: str = "ExitRequest"
    phase: str = "clear"
    since_s: float | None = None
    read_after_ns: int = 0
    tries: int = 0
    is_fired: bool = False
    is_told: bool = False
    refs: list[str] = field(default_factory=list)


Procedure = Enter | MoveStop | ScaleOut | Exit
