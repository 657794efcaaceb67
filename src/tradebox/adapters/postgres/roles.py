"""The three roles of tradebox and what PUBLIC loses: least rights by grants, not by habit.

Rules of this file:
- trade_rw writes the books, research_rw its own schema, console_ro reads views and nothing else;
- every statement can run again and gives the same end;
- a role may always change its own password and session defaults (PostgreSQL has no right that
  forbids it), so both are set again at each start and each migration.
"""

from collections.abc import Mapping
from typing import Any

import asyncpg

from tradebox.errors import StoreUnavailable

TRADE = "trade_rw"
RESEARCH = "research_rw"
CONSOLE = "console_ro"
ROLES = (TRADE, RESEARCH, CONSOLE)

CONSOLE_CONNECTIONS_MAX = 8
CONSOLE_STATEMENT_MS_MAX = 5_000
CONSOLE_IDLE_MS_MAX = 60_000

_SESSION_DEFAULTS = {
    CONSOLE: (
        ("default_transaction_read_only", "on"),
        ("statement_timeout", str(CONSOLE_STATEMENT_MS_MAX)),
        ("idle_in_transaction_session_timeout", str(CONSOLE_IDLE_MS_MAX)),
    ),
    TRADE: (("idle_in_transaction_session_timeout", str(CONSOLE_IDLE_MS_MAX)),),
    RESEARCH: (),
}
_CONNECTIONS_MAX = {CONSOLE: CONSOLE_CONNECTIONS_MAX, TRADE: -1, RESEARCH: 16}

_ROLES_LOCK = 0x7452_4442_524F_4C01
"""Two owners that set roles at once would fail with "tuple concurrently updated"."""

_MAY_LOCK = "SELECT has_function_privilege('pg_advisory_xact_lock(bigint)', 'EXECUTE')"

_LOCK_FUNCTIONS = "^pg_(try_)?advisory_(xact_)?lock"
_PUBLIC_FUNCTIONS = "^(lo_|lowrite$|loread$|pg_logical_emit_message$)"

_REVOKE_FUNCTIONS = """
SELECT format('REVOKE EXECUTE ON FUNCTION %s FROM PUBLIC', oid::regprocedure) AS statement
FROM pg_proc
WHERE pronamespace = 'pg_catalog'::regnamespace AND proname ~ $1
  AND has_function_privilege('public', oid, 'EXECUTE')
"""
_GRANT_LOCKS = """
SELECT format('GRANT EXECUTE ON FUNCTION %s TO trade_rw', oid::regprocedure) AS statement
FROM pg_proc
WHERE pronamespace = 'pg_catalog'::regnamespace AND proname ~ $1
  AND NOT EXISTS (SELECT FROM aclexplode(proacl) WHERE grantee = 'trade_rw'::regrole)
"""


def _literal(text: str) -> str:
    assert not set(text) & {"\\", "\0"}, "passwords and settings are plain"
    return "'" + text.replace("'", "''") + "'"


async def ensure_roles(connection: Any, passwords: Mapping[str, str]) -> None:
    """Make the missing roles and set every password, limit and session default again.

    Raises: StoreUnavailable when the owner may not create or alter roles.
    """
    known = {
        row["rolname"]
        for row in await connection.fetch(
            "SELECT rolname FROM pg_roles WHERE rolname = ANY($1::text[])", list(ROLES)
        )
    }
    try:
        async with connection.transaction():
            if await connection.fetchval(_MAY_LOCK):
                await connection.execute("SELECT pg_advisory_xact_lock($1)", _ROLES_LOCK)
            for role in ROLES:
                await _ensure_role(connection, role, passwords[role], is_new=role not in known)
    except asyncpg.InsufficientPrivilegeError as error:
        raise StoreUnavailable(
            f"the owner of postgres.url may not make the roles {', '.join(ROLES)}"
            f" ({str(error).splitlines()[0]}): give it CREATEROLE, and ADMIN on those that exist",
            field="postgres.url",
            reason=str(error),
        ) from error


async def _ensure_role(connection: Any, role: str, password: str, *, is_new: bool) -> None:
    verb = "CREATE" if is_new else "ALTER"
    await connection.execute(
        f"{verb} ROLE {role} LOGIN"
        f" CONNECTION LIMIT {_CONNECTIONS_MAX[role]} PASSWORD {_literal(password)}"
    )
    if not is_new:
        await connection.execute(f"ALTER ROLE {role} RESET ALL")
    for name, value in _SESSION_DEFAULTS[role]:
        await connection.execute(f"ALTER ROLE {role} SET {name} = {_literal(value)}")


async def harden_database(connection: Any) -> tuple[str, ...]:
    """Take from PUBLIC what a read-only role must not have in the connected database.

    Returns the statements that this owner may not run (a managed server's superuser owns the
    functions); empty where everything was done.
    """
    database = await connection.fetchval("SELECT quote_ident(current_database())")
    return await _run_each(
        connection,
        [
            f"REVOKE ALL ON DATABASE {database} FROM PUBLIC",
            f"GRANT CONNECT ON DATABASE {database} TO {', '.join(ROLES)}",
            "REVOKE CREATE ON SCHEMA public FROM PUBLIC",
            *await _function_rights(connection),
        ],
    )


async def harden_template(connection: Any) -> None:
    """Let every database made from the connected one begin hardened; needs a superuser."""
    await _run_each(connection, await _function_rights(connection))
    for database in ("postgres", "template1"):
        await connection.execute(f"REVOKE ALL ON DATABASE {database} FROM PUBLIC")


async def _function_rights(connection: Any) -> list[str]:
    statements: list[str] = []
    for query, pattern in (
        (_GRANT_LOCKS, _LOCK_FUNCTIONS),
        (_REVOKE_FUNCTIONS, _LOCK_FUNCTIONS),
        (_REVOKE_FUNCTIONS, _PUBLIC_FUNCTIONS),
    ):
        statements += [row["statement"] for row in await connection.fetch(query, pattern)]
    return statements


async def _run_each(connection: Any, statements: list[str]) -> tuple[str, ...]:
    refused: list[str] = []
    for statement in statements:
        try:
            await connection.execute(statement)
        except asyncpg.InsufficientPrivilegeError:
            refused.append(statement)
    return tuple(refused)


async def ensure_database(connection: Any, name: str) -> None:
    """Create the database when it is missing; the connection is to another one."""
    if not await connection.fetchval("SELECT 1 FROM pg_database WHERE datname = $1", name):
        await connection.execute(f'CREATE DATABASE "{name}"')
