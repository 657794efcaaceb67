"""Which URL each login uses: of the embedded servers, or derived from the owner's URL.

Rules of this file:
- a URL holds its password: it is handed to a client and never shown or logged;
- an external PostgreSQL is reached by our roles at the owner's host and database.
"""

from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, urlsplit, urlunsplit

from tradebox.adapters.embedded.secrets import Login, password
from tradebox.config import Home, Settings
from tradebox.errors import ConfigInvalid

DATABASE = "tradebox"
SUPERUSER = "postgres"
POSTGRES_FOLDER = "pg"
REDIS_FOLDER = "valkey"
REDIS_SOCKET = "valkey.sock"


@dataclass(frozen=True, slots=True)
class StoreAddresses:
    """The URLs of one run, passwords included: mask before showing."""

    postgres_owner: str
    postgres_trade: str
    postgres_research: str
    postgres_console: str
    redis_engine: str
    redis_console: str


def _dsn(user: str, secret: str, folder: Path, database: str) -> str:
    return f"postgresql://{user}:{quote(secret, safe='')}@/{database}?host={quote(str(folder))}"


def superuser_dsn(home: Home, folder: Path | None = None, database: str = DATABASE) -> str:
    """Return the superuser's URL of the embedded server."""
    place = folder or home.socket_dir / POSTGRES_FOLDER
    return _dsn(SUPERUSER, password(home, Login.POSTGRES), place, database)


def postgres_dsn(home: Home, settings: Settings, login: Login, folder: Path | None = None) -> str:
    """Return the URL of a login: POSTGRES is the owner, the others our roles.

    folder: the socket folder in the server's ready line; None = the home's own.
    Raises: ConfigInvalid when the owner's URL is malformed.
    """
    if settings.postgres.url is None:
        place = folder or home.socket_dir / POSTGRES_FOLDER
        user = SUPERUSER if login is Login.POSTGRES else login.value
        return _dsn(user, password(home, login), place, DATABASE)
    url = settings.postgres.url.get_secret_value()
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError as error:
        raise _malformed(str(error)) from error
    if parts.scheme not in {"postgresql", "postgres"}:
        raise _malformed("it does not begin with postgresql://")
    if login is Login.POSTGRES:
        return url
    at = parts.netloc.rpartition("@")[2]
    secret = quote(password(home, login), safe="")
    return urlunsplit(parts._replace(netloc=f"{login.value}:{secret}@{at}"))


def _malformed(why: str) -> ConfigInvalid:
    return ConfigInvalid(
        f"postgres.url (TRADEBOX_POSTGRES_URL) is malformed: {why}:"
        " write postgresql://user:password@host:port/database",
        field="postgres.url",
        value="(hidden)",
        fix="write postgresql://user:password@host:port/database",
    )


def redis_url(home: Home, settings: Settings, login: Login, folder: Path | None = None) -> str:
    """Return the URL of a Redis login; an external URL serves every login but the console's.

    The console is never given more than redis.console_url; empty where that is not set.
    folder: the socket folder in the server's ready line; None = the home's own.
    """
    if settings.redis.url is not None:
        own = settings.redis.console_url if login is Login.REDIS_CONSOLE else settings.redis.url
        return "" if own is None else own.get_secret_value()
    user = login.value.removeprefix("redis_")
    place = (folder or home.socket_dir / REDIS_FOLDER) / REDIS_SOCKET
    return f"unix://{user}:{quote(password(home, login), safe='')}@{quote(str(place))}"


def store_addresses(
    home: Home,
    settings: Settings,
    postgres_folder: Path | None = None,
    redis_folder: Path | None = None,
) -> StoreAddresses:
    """Return every URL of a run; folders as the servers' ready lines name them."""

    def postgres(login: Login) -> str:
        return postgres_dsn(home, settings, login, postgres_folder)

    return StoreAddresses(
        postgres_owner=postgres(Login.POSTGRES),
        postgres_trade=postgres(Login.TRADE),
        postgres_research=postgres(Login.RESEARCH),
        postgres_console=postgres(Login.CONSOLE),
        redis_engine=redis_url(home, settings, Login.REDIS_ENGINE, redis_folder),
        redis_console=redis_url(home, settings, Login.REDIS_CONSOLE, redis_folder),
    )
