"""What a session and its request handlers need of the gateway, as a Protocol.

Rules of this file:
- it names what exists once per account; what exists once per client is in session.py.
"""

from collections.abc import Mapping
from typing import Protocol

from tradebox.sim.exchange.engine import Exchange
from tradebox.sim.exchange.market_port import Instrument
from tradebox.sim.faults import Value
from tradebox.sim.gateway.followers import Followers
from tradebox.sim.gateway.streams import MarketStreams
from tradebox.sim.gateway.work_queue import WorkQueue


class GatewayView(Protocol):
    """One account's gateway, as its sessions see it."""

    exchange: Exchange
    account_name: str
    account_id: str
    streams: MarketStreams
    followers: Followers
    work: WorkQueue
    lists: WorkQueue
    increments: list[int]
    messages_per_s_max: int

    def now_ns(self) -> int:
        """Return the market time."""
        ...

    def acted_ns(self) -> int:
        """Return the market time up to which everything has happened."""
        ...

    def real_s(self) -> float:
        """Return real, monotonic seconds."""
        ...

    def happen(self, cue: str) -> None:
        """Let fault scripts know what happened."""
        ...

    def take_fault(self, name: str, **context: Value) -> Mapping[str, Value] | None:
        """Return the arguments of a set fault that fits here."""
        ...

    def instrument(self, symbol: str) -> Instrument | None:
        """Return the instrument of a symbol."""
        ...

    def instrument_by_id(self, con_id: int) -> Instrument | None:
        """Return the instrument of a contract id."""
        ...

    def find_instrument(self, contract: Mapping[str, str]) -> Instrument | None:
        """Return the stock that a contract names by id or by symbol."""
        ...
