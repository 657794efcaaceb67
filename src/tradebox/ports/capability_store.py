"""What we need of the record of capabilities: what a drill found, and when.

Rules of this file:
- a finding is of one account and one gateway build; a newer one replaces it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from tradebox.domain.capabilities import Proven


@dataclass(frozen=True, slots=True)
class CapabilityRow:
    """One finding. found_at: ISO time, UTC."""

    account_id: str
    gateway_build: str
    name: str
    found: str
    is_proven: bool
    evidence: Mapping[str, Any] = field(default_factory=dict)
    found_at: str = ""


class CapabilityStore(Protocol):
    """Findings in PostgreSQL. Every call raises StoreUnavailable while it is away."""

    async def put(self, rows: tuple[CapabilityRow, ...]) -> None:
        """Write findings, in one commit."""
        ...

    async def all(self, account_id: str | None = None) -> tuple[CapabilityRow, ...]:
        """Return findings, by account, build and name."""
        ...

    async def proven(self, account_id: str, gateway_build: str) -> Proven:
        """Return what is known of one gateway."""
        ...
