"""How a command asks a controller: a durable row, a short wait, an answer.

Rules of this file:
- the row has a deadline: what nobody took by then is never carried out;
- without a running engine nothing is asked, but for switches, which it finds at its start.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from threading import Thread
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

from tradebox.cli.options import print_json
from tradebox.cli.status import ask
from tradebox.config import Home, load_settings
from tradebox.errors import ConfigInvalid, NotDone, StoreUnavailable

if TYPE_CHECKING:
    from tradebox.adapters.postgres.pool import PgPool
    from tradebox.domain.orders import AccountName

T = TypeVar("T")
DEADLINE_S = 30.0
ANSWER_S = 15.0
STORE_S_MAX = 30.0
"""For stores that have to be started; a server that hangs is given up then."""


def account_name(text: str) -> "AccountName":
    """Return the account of an option. Raises ConfigInvalid."""
    from tradebox.domain.orders import AccountName

    try:
        return AccountName(text)
    except ValueError:
        raise ConfigInvalid(f"--account={text}: unknown account: give paper or live") from None


class _Outcome:
    """Keeps how a block ended, whatever it was."""

    error: BaseException | None = None

    def __enter__(self) -> None:
        """Begin."""

    def __exit__(
        self, _kind: object, error: BaseException | None, _where: TracebackType | None
    ) -> bool:
        """Keep the error for the thread that asked."""
        self.error = error
        return True


def in_time(call: Callable[[], T], limit_s: float) -> T:
    """Return what a call on the stores returns. Units: real seconds.

    A server that hangs would keep a command for minutes; the thread that waits for it ends with it.

    Raises:  StoreUnavailable where nothing came in time; what the call raises.
    """
    outcome, done = _Outcome(), list[T]()

    def attempt() -> None:
        with outcome:
            done.append(call())

    waiting = Thread(target=attempt, daemon=True)
    waiting.start()
    waiting.join(limit_s)
    if outcome.error is not None:
        raise outcome.error
    if not done:
        raise StoreUnavailable(
            f"PostgreSQL did not answer in {limit_s:g} s: `tradebox status` shows its server;"
            " `tradebox ctl kill` stops entries without it"
        )
    return done[0]


def with_pool(home: Home, call: "Callable[[PgPool], Awaitable[T]]") -> T:
    """Call with a pool on the home's database; the schema must be there."""
    from tradebox.adapters.embedded.lease import stores
    from tradebox.adapters.postgres.plan_desk import opened_pool

    async def use(dsn: str) -> T:
        async with opened_pool(dsn) as pool:
            return await call(pool)

    with stores(home, load_settings(home)) as addresses:
        return asyncio.run(use(addresses.postgres_trade))


def check_trades(home: Home, account: str) -> None:
    """Refuse an account that the running profile leaves alone.

    Raises:  ConfigInvalid; NotRunning without an engine.
    """
    engine = ask(home, "status").get("engine") or {}
    profile = ((engine.get("blob") or {}).get("header") or {}).get("profile")
    if profile == "paper" and account == "live":
        raise ConfigInvalid(
            "--account=live: profile paper runs, which trades paper alone: give paper,"
            " or run profile live"
        )


def request(
    home: Home, account: str, kind: str, args: Mapping[str, Any], answer_s: float = ANSWER_S
) -> dict[str, Any]:
    """Have the running controller do something; return its answer.

    Raises:  NotRunning without an engine; ConfigInvalid for an account that does not trade in it;
             NotDone where it refuses or does not answer in time.
    """
    from tradebox.adapters.postgres.commands import PgCommands
    from tradebox.ports.command_store import CommandKind
    from tradebox.supervision.clock import MonotonicClock

    name = account_name(account)
    check_trades(home, account)

    async def call(pool: "PgPool") -> tuple[int, dict[str, Any] | None]:
        commands = PgCommands(pool)
        number = await commands.ask(
            name, CommandKind(kind), args, deadline_s=DEADLINE_S, asked_by="command-line"
        )
        return number, await commands.wait(number, answer_s, MonotonicClock())

    number, answer = in_time(lambda: with_pool(home, call), STORE_S_MAX + answer_s)
    if answer is None:
        raise NotDone(
            f"command {number}: {account} gave no answer in {answer_s:g} s;"
            f" it counts until {DEADLINE_S:g} s after it was asked"
        )
    if not answer.get("done"):
        raise NotDone(f"command {number}: {answer.get('why') or answer}")
    return {"command_id": number, "account": account, **answer}


def show(answer: Mapping[str, Any], *, json: bool) -> None:
    """Print an answer: as one JSON object, or a line for each figure."""
    if json:
        print_json(dict(answer))
        return
    for name, value in answer.items():
        if isinstance(value, Mapping):
            text = ", ".join(f"{key} {item}" for key, item in value.items()) or "-"
        elif isinstance(value, list | tuple):
            text = "; ".join(str(item) for item in value) or "-"
        else:
            text = str(value)
        print(f"{name:<16} {text}")
