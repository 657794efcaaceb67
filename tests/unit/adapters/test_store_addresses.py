"""Which URL each login gets, of embedded servers and of external ones."""

from urllib.parse import parse_qs, unquote, urlsplit

import pytest

from support.stores import make_home
from tradebox.adapters.embedded.addresses import postgres_dsn, redis_url, store_addresses
from tradebox.adapters.embedded.secrets import Login, password
from tradebox.config import Home, PostgresSettings, RedisSettings, Settings
from tradebox.errors import ConfigInvalid

OWNER = "postgresql://boss:s%40crt@db.example:5433/books?sslmode=require"
EMBEDDED = Settings()


def external(url):
    return Settings(postgres=PostgresSettings(url=url))


@pytest.fixture
def plain_home(tmp_path):
    return Home(tmp_path / "home")


def test_embedded_logins_use_the_socket_and_a_password_each(plain_home):
    seen = set()
    for login in (Login.POSTGRES, Login.TRADE, Login.RESEARCH, Login.CONSOLE):
        parts = urlsplit(postgres_dsn(plain_home, EMBEDDED, login))
        assert parts.username == login.value
        assert parts.path == "/tradebox"
        assert parse_qs(parts.query) == {"host": [str(plain_home.socket_dir / "pg")]}
        assert unquote(parts.password) == password(plain_home, login)
        seen.add(parts.password)
    assert len(seen) == 4


def test_the_folder_of_the_ready_line_wins(plain_home, tmp_path):
    odd = tmp_path / "a b?c"
    dsn = postgres_dsn(plain_home, EMBEDDED, Login.TRADE, odd)
    assert parse_qs(urlsplit(dsn).query)["host"] == [str(odd)]
    url = redis_url(plain_home, EMBEDDED, Login.REDIS_CONSOLE, odd)
    assert unquote(urlsplit(url).path) == f"{odd}/valkey.sock"
    assert urlsplit(url).username == "console"


@pytest.mark.parametrize(
    "url",
    [OWNER, OWNER.replace("postgresql:", "postgres:"), "postgresql://db.example:5433/books"],
)
def test_our_roles_log_in_at_the_owners_place(plain_home, url):
    assert postgres_dsn(plain_home, external(url), Login.POSTGRES) == url
    dsn = urlsplit(postgres_dsn(plain_home, external(url), Login.TRADE))
    before = urlsplit(url)
    assert (dsn.username, unquote(dsn.password)) == ("trade_rw", password(plain_home, Login.TRADE))
    assert (dsn.hostname, dsn.port, dsn.path, dsn.query) == (
        before.hostname,
        before.port,
        before.path,
        before.query,
    )


@pytest.mark.parametrize(
    "url", ["mysql://u:hunter2@h/d", "h:5432/d", "postgresql://u:hunter2@h:port/d", ""]
)
def test_a_malformed_owner_url_is_refused_without_showing_it(plain_home, url):
    with pytest.raises(ConfigInvalid, match="TRADEBOX_POSTGRES_URL") as caught:
        postgres_dsn(plain_home, external(url), Login.TRADE)
    assert "hunter2" not in str(caught.value) + str(caught.value.fields)


def test_an_external_redis_serves_the_engine_and_the_console_by_a_login_of_its_own(plain_home):
    url = "redis://me:x@cache.example:6380/2"
    settings = Settings(redis=RedisSettings(url=url))
    addresses = store_addresses(plain_home, settings)
    assert (addresses.redis_engine, addresses.redis_console) == (url, "")
    own = "redis://console:look@cache.example:6380/2"
    told = Settings(redis=RedisSettings(url=url, console_url=own))
    assert store_addresses(plain_home, told).redis_console == own
    assert urlsplit(addresses.postgres_console).username == "console_ro"


def test_two_homes_have_two_socket_folders():
    one, other = make_home(), make_home()
    try:
        assert one.socket_dir != other.socket_dir
        assert len(str(one.socket_dir / "pg" / ".s.PGSQL.5432.lock")) < 107
    finally:
        one.root.rmdir()
        other.root.rmdir()
