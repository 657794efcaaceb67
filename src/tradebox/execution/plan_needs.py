"""What the plan runner needs of the order path and of prices.

Rules of this file:
- protocols only: the runner is tested with scripted stand-ins, and run with the real ones.
"""

from decimal import Decimal
from typing import Protocol

from tradebox.domain.events import PositionChanged
from tradebox.domain.market import AdmittedTick, Quality
from tradebox.domain.orders import Side
from tradebox.domain.path import (
    AccountState,
    Holding,
    LinkState,
    PathEvent,
    PathRequest,
    RecoveredState,
)
from tradebox.ports.order_store import PlanMoved
from tradebox.ports.orders import BrokerFact


class PlanPath(Protocol):
    """The order path as plans use it; execution/order_path.py is the real one."""

    @property
    def account_state(self) -> AccountState:
        """Money and link now; it looks at every plan, so not for each price."""
        ...

    @property
    def link_state(self) -> LinkState:
        """The link alone."""
        ...

    async def request(self, req: PathRequest) -> None:
        """Begin a procedure; its answers come as events."""
        ...

    async def on_fact(self, fact: BrokerFact) -> list[PathEvent]:
        """Book a fact of the broker."""
        ...

    async def on_timer(self) -> list[PathEvent]:
        """Let deadlines pass."""
        ...

    async def recover(self) -> RecoveredState:
        """Load the books."""
        ...

    def hold(self, plan_id: str, symbol: str, side: Side, stop_level: Decimal | None) -> None:
        """Take up a plan whose shares no order of ours opened."""
        ...

    def holding(self, plan_id: str) -> Holding:
        """Return what a plan holds."""
        ...

    def holdings(self) -> list[PositionChanged]:
        """Return the cover of every position."""
        ...

    def is_busy(self, plan_id: str) -> bool:
        """Say whether a procedure of the plan is under way."""
        ...

    def take_events(self) -> list[PathEvent]:
        """Return the events that requests gave."""
        ...


class Carrier(Protocol):
    """Takes a plan's state along with the next commit; execution/record_keeper.py is the real one.

    One state at a time: carry, let the path work, ask once whether it landed.
    """

    def carry(self, state: PlanMoved) -> None:
        """Take this state along with the next commit of the account."""
        ...

    def has_landed(self) -> bool:
        """Say whether the state is in PostgreSQL, and forget it either way."""
        ...


class Prices(Protocol):
    """What is known of prices now; actors/market_hub.py is the real one."""

    def last(self, symbol: str) -> AdmittedTick | None:
        """Return the newest price."""
        ...

    def quality_now(self, symbol: str) -> Quality:
        """Return what it is worth now."""
        ...
