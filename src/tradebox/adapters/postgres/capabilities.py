"""Capabilities in PostgreSQL.

Rules of this file:
- one row per account, gateway build and name; a drill's findings are one commit.
"""

from tradebox.adapters.postgres.pool import PgPool
from tradebox.domain.capabilities import BY_NAME, Proven
from tradebox.ports.capability_store import CapabilityRow

_PUT = """
INSERT INTO trade.capability (account_id, gateway_build, name, found, is_proven, evidence)
VALUES ($1, $2, $3, $4, $5, $6)
ON CONFLICT (account_id, gateway_build, name) DO UPDATE
SET found = excluded.found, is_proven = excluded.is_proven, evidence = excluded.evidence,
    found_at = clock_timestamp()
"""


class PgCapabilities:
    """CapabilityStore on a PgPool."""

    def __init__(self, pool: PgPool) -> None:
        self._pool = pool

    async def put(self, rows: tuple[CapabilityRow, ...]) -> None:
        """Write findings, in one commit."""
        async with self._pool.connection() as connection, connection.transaction():
            for row in rows:
                await connection.execute(
                    _PUT,
                    row.account_id,
                    row.gateway_build,
                    row.name,
                    row.found,
                    row.is_proven,
                    dict(row.evidence),
                )

    async def all(self, account_id: str | None = None) -> tuple[CapabilityRow, ...]:
        """Return findings, by account, build and name."""
        async with self._pool.connection() as connection:
            rows = await connection.fetch(
                "SELECT * FROM trade.capability WHERE $1::text IS NULL OR account_id = $1"
                " ORDER BY account_id, gateway_build, name",
                account_id,
            )
        return tuple(
            CapabilityRow(
                account_id=row["account_id"],
                gateway_build=row["gateway_build"],
                name=row["name"],
                found=row["found"],
                is_proven=row["is_proven"],
                evidence=row["evidence"],
                found_at=row["found_at"].isoformat(timespec="seconds"),
            )
            for row in rows
        )

    async def proven(self, account_id: str, gateway_build: str) -> Proven:
        """Return what is known of one gateway."""
        rows = await self.all(account_id)
        known = [row for row in rows if row.gateway_build == gateway_build]
        return Proven({row.name: row.found for row in known if row.name in BY_NAME})
