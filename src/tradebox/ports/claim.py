"""The right of one engine to act on one database, as everybody who acts must ask for it."""

from enum import StrEnum
from typing import Protocol


class Claim(StrEnum):
    """What is known of the right now.

    UNASKED: nobody has answered yet, so nothing is sent yet.
    HELD: it is ours.
    UNSURE: it cannot be asked for (PostgreSQL is away, or who had it before us on this home is
        not quite gone): no entries, exits go on.
    LOST: another engine has it: nothing is sent any more by this engine, whatever comes later.
    """

    UNASKED = "unasked"
    HELD = "held"
    UNSURE = "unsure"
    LOST = "lost"

    @property
    def may_send(self) -> bool:
        """Whether exits and stops may leave."""
        return self in (Claim.HELD, Claim.UNSURE)


class EngineClaim(Protocol):
    """Keeps asking for the right."""

    @property
    def claim(self) -> Claim:
        """What is known of the right now; it may change at any moment."""
        ...

    @property
    def reason(self) -> str:
        """Why it is not HELD, "" while it is."""
        ...

    async def tend(self) -> Claim:
        """Ask for the right, or for a sign of life of the session that holds it."""
        ...

    async def close(self) -> None:
        """Give the right back."""
        ...
