"""A Redis client over a Unix socket or TCP, and what its failures are called.

Rules of this file:
- every fault of driver, network or server that a retry may heal is BusUnavailable;
- a client never retries by itself: a late value is worth less than the next one;
- a message names the address without its password.
"""

import contextlib
from collections.abc import Iterator
from typing import Final
from urllib.parse import unquote, urlsplit

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import (
    AuthenticationError,
    BusyLoadingError,
    ConnectionError,  # noqa: A004 - redis-py's word, used in this file alone
    OutOfMemoryError,
    ReadOnlyError,
    TimeoutError,  # noqa: A004 - redis-py's word, used in this file alone
)

from tradebox.errors import BusUnavailable, ConfigInvalid

CONNECT_S_MAX: Final = 2.0
ANSWER_S_MAX: Final = 2.0
CONNECTIONS_MAX: Final = 16

_AWAY = (
    OSError,
    ConnectionError,
    TimeoutError,
    AuthenticationError,
    BusyLoadingError,
    OutOfMemoryError,
    ReadOnlyError,
)


def shown(url: str) -> str:
    """Return the address without password."""
    try:
        parts = urlsplit(url)
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        return "(unreadable URL)"
    return f"{parts.username or '?'}@{parts.hostname or ''}{port}{unquote(parts.path)}"


def make_client(
    url: str, *, name: str = "tradebox", answer_s_max: float | None = ANSWER_S_MAX
) -> Redis:
    """Return a client (RESP3, bytes answers); it connects when first used.

    Units:   answer_s_max: the longest wait for an answer; None for a subscriber that listens.
    Raises:  ConfigInvalid when the URL is malformed.
    """
    try:
        return Redis.from_url(
            url,
            protocol=3,
            client_name=name,
            socket_connect_timeout=CONNECT_S_MAX,
            socket_timeout=answer_s_max,
            max_connections=CONNECTIONS_MAX,
            retry=Retry(NoBackoff(), 0),
        )
    except ValueError as error:
        raise ConfigInvalid(
            f"redis.url (TRADEBOX_REDIS_URL) is malformed: {error}:"
            " write redis://user:password@host:port/0 or unix://user:password@/path",
            field="redis.url",
            value="(hidden)",
            fix="write redis://user:password@host:port/0 or unix://user:password@/path",
        ) from error


@contextlib.contextmanager
def mapped(url: str) -> Iterator[None]:
    """Turn lost connections, refused logins and timeouts inside the block into BusUnavailable.

    Raises: BusUnavailable(reason=…); answers such as NOPERM or WRONGTYPE pass through.
    """
    try:
        yield
    except _AWAY as error:
        at = shown(url)
        reason = str(error) or type(error).__name__
        raise BusUnavailable(
            f"Redis at {at}: {reason}: check TRADEBOX_REDIS_URL and that the server runs",
            field="redis.url",
            value=at,
            reason=reason,
        ) from error
