"""Where a console finds its two read-only stores: one file of the home, 0600, and nothing else.

Rules of this file:
- an absent, unreadable or half-written file is no error: it says why, and the console waits;
- passwords stay inside the URLs; `addresses` names the peers without them.
"""

from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

import orjson

POSTGRES_PORT, REDIS_PORT = 5432, 6379
NO_LOGIN = (
    "redis.console_url is not set: give a login of your Redis that may only read rm:* and md:*"
)


@dataclass(frozen=True, slots=True)
class Address:
    """A peer of the console: a Unix socket (host is its path, port None) or a TCP host and port."""

    host: str
    port: int | None

    @property
    def is_unix(self) -> bool:
        """Say whether the peer is a Unix socket."""
        return self.port is None


@dataclass(frozen=True, slots=True)
class Places:
    """What run/console.json holds. world: SIMULATED in profile sim, else empty."""

    postgres: str
    redis: str
    profile: str
    world: str

    def addresses(self) -> frozenset[Address]:
        """Return the only two peers that a console may connect to. Raises ValueError."""
        return frozenset({_postgres_address(self.postgres), _redis_address(self.redis)})


@dataclass(frozen=True, slots=True)
class NoPlaces:
    """Why there is nothing to connect to yet."""

    reason: str


def read_places(path: Path) -> Places | NoPlaces:
    """Return the stores' places, or why they are not known."""
    try:
        fields = orjson.loads(path.read_bytes())
        if fields["redis"] == "":
            return NoPlaces(NO_LOGIN)
        places = Places(
            str(fields["postgres"]),
            str(fields["redis"]),
            str(fields["profile"]),
            str(fields.get("world") or ""),
        )
        places.addresses()
    except FileNotFoundError:
        return NoPlaces("nothing has run on this home yet: start `tradebox run`")
    except OSError as error:
        return NoPlaces(f"{path.name} cannot be read: {error.strerror}")
    except (ValueError, KeyError, TypeError, AttributeError):
        return NoPlaces(f"{path.name} is not complete yet")
    return places


def _postgres_address(dsn: str) -> Address:
    parts = urlsplit(dsn)
    if parts.scheme not in {"postgresql", "postgres"}:
        raise ValueError("not a PostgreSQL URL")
    query = parse_qs(parts.query)
    port = parts.port or int(query.get("port", [POSTGRES_PORT])[0])
    host = parts.hostname or query.get("host", [""])[0]
    if host.startswith("/"):
        return Address(f"{host}/.s.PGSQL.{port}", None)
    if not host:
        raise ValueError("no host")
    return Address(host, port)


def _redis_address(url: str) -> Address:
    parts = urlsplit(url)
    if parts.scheme == "unix":
        return Address(unquote(parts.path), None)
    if parts.scheme not in {"redis", "rediss"} or not parts.hostname:
        raise ValueError("not a Redis URL")
    return Address(parts.hostname, parts.port or REDIS_PORT)
