"""One connection to PostgreSQL, and what its failures are called.

Rules of this file:
- every fault of driver, network or server that a retry may heal is StoreUnavailable;
- a statement leaves when it is made, not when the loop has time for it: orders wait for its commit;
- a message names the address without its password.
"""

import contextlib
from collections.abc import AsyncIterator, Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import asyncpg
import orjson

from tradebox.errors import StoreUnavailable

_LOGIN_REFUSED = (
    asyncpg.InvalidAuthorizationSpecificationError,
    asyncpg.InvalidCatalogNameError,
)
_AWAY = (
    OSError,
    TimeoutError,
    asyncpg.OperatorInterventionError,
    asyncpg.InsufficientResourcesError,
    asyncpg.ReadOnlySQLTransactionError,  # a standby, or a server that was told to write nothing
    asyncpg.ClientConfigurationError,
    asyncpg.InternalClientError,
)


def shown(dsn: str) -> str:
    """Return the address without password: host, port and database."""
    try:
        parts = urlsplit(dsn)
        host = parts.hostname or parse_qs(parts.query).get("host", ["?"])[0]
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        return "(unreadable URL)"
    return f"{parts.username or '?'}@{host}{port}{parts.path}"


@contextlib.contextmanager
def mapped(dsn: str) -> Iterator[None]:
    """Turn lost connections and refused logins inside the block into StoreUnavailable.

    Raises: StoreUnavailable(reason=…); errors of the statement itself pass through.
    """
    try:
        yield
    except _LOGIN_REFUSED as error:
        raise unavailable(dsn, f"refused the login: {error}", is_refused=True) from error
    except (asyncpg.CannotConnectNowError, asyncpg.PostgresConnectionError) as error:
        raise unavailable(dsn, str(error), is_passing=True) from error
    except _AWAY as error:
        raise unavailable(dsn, str(error) or type(error).__name__) from error
    except asyncpg.InterfaceError as error:
        if "clos" not in str(error) and "released" not in str(error):
            raise
        raise unavailable(dsn, str(error)) from error


def unavailable(dsn: str, reason: str, **fields: object) -> StoreUnavailable:
    """Return the error for an address and a reason."""
    at = shown(dsn)
    return StoreUnavailable(
        f"PostgreSQL at {at}: {reason}: check TRADEBOX_POSTGRES_URL and that the server runs",
        field="postgres.url",
        value=at,
        reason=reason,
        **fields,
    )


class PromptConnection(asyncpg.Connection):  # type: ignore[misc]  # asyncpg has no types
    """A connection whose bytes do not wait in the loop for the end of its turn."""

    def __init__(self, protocol: Any, transport: Any, *others: Any) -> None:
        super().__init__(protocol, transport, *others)
        transport.set_write_buffer_limits(high=0)


async def prepare(connection: Any) -> None:
    """Give a new connection our codecs: jsonb is orjson, numeric is Decimal by itself."""
    for name in ("json", "jsonb"):
        await connection.set_type_codec(
            name,
            encoder=_dump,
            decoder=orjson.loads,
            schema="pg_catalog",
        )


def _dump(value: object) -> str:
    return orjson.dumps(value, default=str, option=orjson.OPT_NON_STR_KEYS).decode()


@contextlib.asynccontextmanager
async def connected(dsn: str, *, timeout_s: float = 5.0) -> AsyncIterator[Any]:
    """Open one connection with our codecs, and close it.

    Raises: StoreUnavailable.
    """
    with mapped(dsn):
        try:
            connection = await asyncpg.connect(dsn, timeout=timeout_s)
        except (ValueError, asyncpg.InterfaceError) as error:
            raise unavailable(dsn, f"the URL is malformed: {error}") from error
        try:
            await prepare(connection)
            yield connection
        finally:
            await connection.close(timeout=timeout_s)
