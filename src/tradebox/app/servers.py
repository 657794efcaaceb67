"""Which servers a run needs, how each starts, and what the ready lines say.

Rules of this file:
- a server is started by its own command, so that the launcher imports none of it;
- what is configured by URL is not started;
- secrets travel by environment or by files of the home, never on a command line.
"""

import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tradebox.adapters.embedded.addresses import store_addresses
from tradebox.adapters.logs import Redactor
from tradebox.config import Endpoints, Home, Settings
from tradebox.errors import ConfigInvalid
from tradebox.supervision.servers import Ready, ServerSpec

POSTGRES, REDIS, MIGRATE, SIM, SEED, SESSIONS, CONSOLE = (
    "postgres",
    "redis",
    "migrate",
    "sim",
    "seed",
    "sessions",
    "console",
)


def server_specs(home: Home, settings: Settings, *, console: bool) -> list[ServerSpec]:
    """Return every server of a run; `needs` orders them, and the console opens first."""
    specs = [_console(home)] if console else []
    if settings.postgres.url is None:
        memory_mb = settings.postgres.memory_mb
        specs.append(_embedded(home, POSTGRES, "postgres", memory_mb))
    if settings.redis.url is None:
        specs.append(_embedded(home, REDIS, "valkey", settings.redis.memory_mb))
    stores = (POSTGRES,) if settings.postgres.url is None else ()
    specs.append(_migrate(home, settings, stores))
    if settings.profile == "sim":
        specs += [_sim(home, settings), _seed(home, settings)]
    specs.append(_sessions(home, settings))
    return specs


def endpoints(home: Home, settings: Settings, ready: Ready) -> Endpoints:
    """Return the addresses of a run from the settings and the servers' ready lines."""
    stores = store_addresses(
        home, settings, _folder(ready.get(POSTGRES)), _folder(ready.get(REDIS))
    )
    sim = ready.get(SIM, {})
    accounts = sim.get("accounts")
    minted = accounts if isinstance(accounts, dict) else {}
    is_sim = settings.profile == "sim"
    return Endpoints(
        postgres_trade=stores.postgres_trade,
        postgres_research=stores.postgres_research,
        postgres_console=stores.postgres_console,
        redis_engine=stores.redis_engine,
        redis_console=stores.redis_console,
        gateway_paper=_address(sim.get("gateway_paper")) if is_sim else _gateway(settings, "paper"),
        gateway_live=_address(sim.get("gateway_live")) if is_sim else _gateway(settings, "live"),
        account_paper=_text(minted.get("paper")) if is_sim else settings.paper.account,
        account_live=_text(minted.get("live")) if is_sim else settings.live.account,
        finnhub_rest=_text(sim.get("finnhub")) if is_sim else settings.finnhub.rest_url,
        finnhub_ws=_text(sim.get("finnhub_ws")) if is_sim else settings.finnhub.ws_url,
        alphavantage=_text(sim.get("alphavantage")) if is_sim else _alphavantage(settings),
        yahoo=_text(sim.get("yahoo")),
        yahoo_ca=_text(sim.get("yahoo_ca")),
        sim_control=_text(sim.get("control")),
        market_clock_file=_text(sim.get("clock_file")),
    )


def shown_endpoints(places: Endpoints) -> dict[str, str | None]:
    """Return the addresses of a run as `status` shows them: passwords masked."""
    return {
        "postgres": _masked(places.postgres_trade),
        "redis": _masked(places.redis_engine),
        "finnhub": places.finnhub_rest,
        "finnhub_ws": places.finnhub_ws,
        "alphavantage": places.alphavantage,
        "yahoo": places.yahoo,
        "sim_control": places.sim_control,
    }


def _masked(url: str | None) -> str | None:
    return None if url is None else Redactor().text(url)


def _python(module: str, *arguments: str) -> tuple[str, ...]:
    return (sys.executable, "-m", module, *arguments)


def _embedded(home: Home, name: str, server: str, memory_mb: int | None) -> ServerSpec:
    place = ("--home", str(home.root))
    asker = ("--asker", str(os.getpid()))
    memory = () if memory_mb is None else ("--memory-mb", str(memory_mb))
    command = "tradebox.adapters.embedded"
    return ServerSpec(
        name=name,
        argv=_python(command, "start", server, *place, *asker, *memory),
        mode="detached",
        stop=_python(command, "stop", server, *place),
        start_deadline_s=60.0,
    )


def _migrate(home: Home, settings: Settings, needs: tuple[str, ...]) -> ServerSpec:
    url = settings.postgres.url

    def environment(ready: Ready) -> Mapping[str, str]:
        del ready
        return {} if url is None else {"TRADEBOX_POSTGRES_URL": url.get_secret_value()}

    return ServerSpec(
        name=MIGRATE,
        argv=_python("tradebox.adapters.embedded", "migrate", *_books_of(home, settings)),
        mode="oneshot",
        needs=needs,
        env=environment,
        start_deadline_s=60.0,
    )


def _books_of(home: Home, settings: Settings) -> tuple[str, ...]:
    """Return the words that say whose books the database must hold."""
    named = {"paper": settings.paper.account, "live": settings.live.account}
    if settings.profile == "sim":
        named = {}
    elif settings.profile == "paper":
        del named["live"]
    accounts = [f"--account={name}={number}" for name, number in named.items() if number]
    return ("--home", str(home.root), "--profile", settings.profile, *accounts)


def _sim(home: Home, settings: Settings) -> ServerSpec:
    options = ("--speed", str(settings.sim.speed), "--seed", str(settings.sim.seed))
    return ServerSpec(
        name=SIM,
        argv=_python("tradebox.sim", "--home", str(home.root), "--json", *options),
        stop=signal.SIGTERM,
    )


def _seed(home: Home, settings: Settings) -> ServerSpec:
    clock_file = home.sim_dir / "clock.json"
    options = ("--clock-file", str(clock_file), "--seed", str(settings.sim.seed))
    return ServerSpec(
        name=SEED,
        argv=_python("tradebox.sim.seed", *options),
        mode="oneshot",
        needs=(MIGRATE, SIM),
        env=_trade_dsn(home, settings, "TRADEBOX_SEED_DSN"),
    )


def _sessions(home: Home, settings: Settings) -> ServerSpec:
    is_sim = settings.profile == "sim"
    clock = ("--clock-file", str(home.sim_dir / "clock.json")) if is_sim else ()
    return ServerSpec(
        name=SESSIONS,
        argv=_python("tradebox.adapters.calendars", *clock),
        mode="oneshot",
        needs=(MIGRATE, SIM) if is_sim else (MIGRATE,),
        env=_trade_dsn(home, settings, "TRADEBOX_CALENDAR_DSN"),
        start_deadline_s=60.0,
        required=False,
        restart=False,
    )


def _console(home: Home) -> ServerSpec:
    return ServerSpec(
        name=CONSOLE,
        argv=_python("tradebox_tui", "--home", str(home.root)),
        tty=True,
        required=False,
        restart=False,
    )


def _trade_dsn(home: Home, settings: Settings, variable: str) -> Any:
    def environment(ready: Ready) -> Mapping[str, str]:
        stores = store_addresses(home, settings, _folder(ready.get(POSTGRES)))
        return {variable: stores.postgres_trade}

    return environment


def _folder(ready: Mapping[str, object] | None) -> Path | None:
    folder = (ready or {}).get("socket_dir")
    return Path(folder) if isinstance(folder, str) else None


def _gateway(settings: Settings, name: str) -> tuple[str, int] | None:
    account = settings.live if name == "live" else settings.paper
    if name == "live" and settings.profile != "live":
        return None
    if account.port is None:
        raise ConfigInvalid(
            f"{name}.port is not set: give the gateway's port ({name}.port = 4002 for paper,"
            " 4001 for live)"
        )
    return account.host, account.port


def _alphavantage(settings: Settings) -> str | None:
    return None if settings.alphavantage.key is None else settings.alphavantage.url


def _address(text: object) -> tuple[str, int] | None:
    if not isinstance(text, str):
        return None
    host, _, port = text.rpartition(":")
    return host, int(port)


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None
