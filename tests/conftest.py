"""Fixtures of the whole suite: real stores, temporary homes, and a temp folder that goes away."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

sys.path.insert(0, str(Path(__file__).parent))

from support.stores import Stores, dsn_of, stop_all
from tradebox.adapters.embedded.secrets import Login
from tradebox.config import Home


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    # A loaded box is slow at any example: time is no property of the code (benchmarks measure it).
    patient = hypothesis.settings(
        deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
    )
    hypothesis.settings.register_profile("patient", patient)
    hypothesis.settings.register_profile("read-only", patient, database=None)
    is_kept = os.access(config.rootpath, os.W_OK)
    hypothesis.settings.load_profile("patient" if is_kept else "read-only")
    if not hasattr(config, "workerinput") and config.option.basetemp is None:
        config.option.basetemp = tempfile.mkdtemp(prefix="tradebox-pytest-")
        remover = subprocess.Popen(
            ["/bin/sh", "-c", 'cat >/dev/null; rm -rf "$0"', config.option.basetemp],
            stdin=subprocess.PIPE,
            start_new_session=True,
        )
        config.add_cleanup(remover.communicate)  # and at the end of its input, if we are killed


@pytest.fixture(scope="session")
def stores() -> Iterator[Stores]:
    """The embedded servers of this worker; started on first use."""
    made = Stores()
    try:
        yield made
    finally:
        made.close()


@pytest.fixture
def pg_database(stores: Stores) -> Iterator[str]:
    """The name of a fresh, migrated database."""
    name = stores.make_database()
    yield name
    stores.drop_database(name)


@pytest.fixture
def pg_dsn(stores: Stores, pg_database: str) -> str:
    """A fresh, migrated database as role trade_rw."""
    return dsn_of(stores.home, Login.TRADE, pg_database)


@pytest.fixture
def pg_owner_dsn(stores: Stores, pg_database: str) -> str:
    """The same database as its owner, the superuser."""
    return dsn_of(stores.home, Login.POSTGRES, pg_database)


@pytest.fixture
def pg_research_dsn(stores: Stores, pg_database: str) -> str:
    """The same database as role research_rw."""
    return dsn_of(stores.home, Login.RESEARCH, pg_database)


@pytest.fixture
def pg_console_dsn(stores: Stores, pg_database: str) -> str:
    """The same database as role console_ro."""
    return dsn_of(stores.home, Login.CONSOLE, pg_database)


@pytest.fixture
def redis_url(stores: Stores) -> str:
    """An empty Valkey as user engine."""
    stores.flush_redis()
    return stores.redis(Login.REDIS_ENGINE)


@pytest.fixture
def redis_console_url(stores: Stores) -> str:
    """The same Valkey as user console."""
    return stores.redis(Login.REDIS_CONSOLE)


@pytest.fixture
def redis_owner_url(stores: Stores) -> str:
    """The same Valkey as user owner, who may FLUSHALL and CLIENT KILL."""
    return stores.redis(Login.REDIS_OWNER)


@pytest.fixture
def home(stores: Stores) -> Iterator[Home]:
    """An empty home of one test; servers that it starts are stopped at its end."""
    made = stores.make_home()
    try:
        yield made
    finally:
        stop_all(made)
        shutil.rmtree(made.root, ignore_errors=True)
