"""Whose books a database holds: the stand-in world's or a broker's, and of which accounts.

Rules of this file:
- the books of one world are no books of another: plans and positions of the stand-in would be
  followed, and covered with stops, at a real broker;
- one database has one account of each name: shares of another number are not there to be sold;
- only read: what does not fit is refused before an engine starts.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tradebox.errors import ConfigInvalid

_OTHER_WORLD = """
SELECT profile FROM trade.run WHERE (profile = 'sim') <> $1
ORDER BY started_at DESC LIMIT 1
"""
_OTHER_ACCOUNT = """
SELECT account_id FROM trade.broker_order WHERE account = $1 AND account_id <> $2
ORDER BY created_at DESC LIMIT 1
"""
_FIX = "give it a home and a database of its own (--home, postgres.url)"


@dataclass(frozen=True, slots=True)
class BooksOwner:
    """Who is about to run. accounts: broker's number by name, where they are known beforehand."""

    profile: str
    accounts: Mapping[str, str] = field(default_factory=dict)


async def refuse_other_books(connection: Any, owner: BooksOwner) -> None:
    """Check that the books of this database are the owner's.

    Raises:  ConfigInvalid where a run of another world, or another account's orders, are in it.
    """
    is_sim = owner.profile == "sim"
    other = await connection.fetchval(_OTHER_WORLD, is_sim)
    if other is not None:
        held = "a broker's" if is_sim else "the stand-in world's"
        raise ConfigInvalid(
            f"profile={owner.profile}: this database holds {held} books (profile {other} ran on"
            f" it): {_FIX}",
            field="profile",
            value=owner.profile,
        )
    for name, number in owner.accounts.items():
        known = await connection.fetchval(_OTHER_ACCOUNT, name, number)
        if known is not None:
            raise ConfigInvalid(
                f"{name}.account={number}: this database holds the books of {known}: {_FIX}",
                field=f"{name}.account",
                value=number,
            )
