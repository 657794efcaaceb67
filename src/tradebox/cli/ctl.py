"""`tradebox ctl`: asks a running engine to do something, by way of its launcher.

Rules of this file:
- a command asks one question and prints the answer; what happens is decided in the engine;
- what concerns money is a durable row with a deadline, taken once, answered, and logged.
"""

from contextlib import suppress
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tradebox.cli.asking import (
    STORE_S_MAX,
    account_name,
    check_trades,
    in_time,
    request,
    show,
    with_pool,
)
from tradebox.cli.options import AccountOption, HomeOption, JsonOption, print_json
from tradebox.cli.status import ask
from tradebox.config import Home, find_home
from tradebox.errors import ConfigInvalid, HomeUnusable, NotDone, NotRunning, StoreUnavailable

if TYPE_CHECKING:
    from tradebox.adapters.postgres.pool import PgPool
    from tradebox.domain.orders import AccountName

app = typer.Typer(no_args_is_help=True, help="Ask the running engine to do something.")
failover = typer.Typer(no_args_is_help=True, help="Planned takeovers.")
app.add_typer(failover, name="failover")
ReasonOption = Annotated[str, typer.Option("--reason", help="Why, for the log.")]
SwitchSymbol = Annotated[
    str | None, typer.Argument(metavar="[SYMBOL]", help="Of this symbol alone.")
]
KILL_ANSWER_S = 5.0
KILL_STORE_S = 10.0


@failover.command("feed")
def feed(home: HomeOption = None, json: JsonOption = False) -> None:
    """Have the standby feed take over; the active one becomes the standby."""
    answer = _forward(home, "swap_feeds")
    if json:
        print_json(answer)
    else:
        print(f"{answer['active']} is active now, before it was {answer['was']}")


@app.command("confirm")
def confirm(
    symbol: Annotated[str, typer.Argument(metavar="SYMBOL", help="The symbol that waits.")],
    home: HomeOption = None,
    json: JsonOption = False,
) -> None:
    """Say that a symbol's new level is right: one that looks like a split blocks it until then."""
    answer = _forward(home, "confirm_level", symbol=symbol.upper())
    if json:
        print_json(answer)
    else:
        print(f"{answer['symbol']}: {answer['numerator']} for {answer['denominator']} is confirmed")


@app.command("split")
def split(
    symbol: Annotated[str, typer.Argument(metavar="SYMBOL", help="Whose shares are split.")],
    ratio: Annotated[str, typer.Argument(metavar="NEW:OLD", help="E.g. 4:1, or 1:10.")],
    day: Annotated[datetime, typer.Option("--day", formats=["%Y-%m-%d"], help="Trading day.")],
    home: HomeOption = None,
    json: JsonOption = False,
) -> None:
    """Announce a split: a first price of that day at its ratio then passes unblocked."""
    from tradebox.adapters.postgres.splits import PgSplits
    from tradebox.ports.splits import SplitRow

    new, _, old = ratio.partition(":")
    sides = [int(side) if side.isdecimal() else 0 for side in (new, old)]
    if not all(0 < side <= 1000 for side in sides) or sides[0] == sides[1]:
        raise ConfigInvalid(
            f"NEW:OLD={ratio}: no ratio of a split: write new shares for old ones, e.g. 4:1"
        )
    row = SplitRow(_symbol(symbol), day.date(), int(new), int(old), "person")
    with_pool(find_home(home), lambda pool: PgSplits(pool).add(row))
    show({**row._asdict(), "day": row.day.isoformat()}, json=json)


@app.command("harm", hidden=True)
def harm(
    actor: Annotated[str, typer.Argument(help="The actor's name.")],
    how: Annotated[str, typer.Option("--how", metavar="crash|kill|hang|deaf|busy|burn")] = "crash",
    home: HomeOption = None,
    json: JsonOption = False,
) -> None:
    """Harm an actor on purpose; refused in every profile but sim."""
    answer = _forward(home, "harm", actor=actor, how=how)
    if json:
        print_json(answer)
    else:
        print(f"{answer['actor']} (incarnation {answer['incarnation']}): {answer['how']}")


@app.command("pause")
def pause(
    account: AccountOption,
    reason: ReasonOption = "",
    home: HomeOption = None,
    json: JsonOption = False,
) -> None:
    """Let an account open nothing new; exits and stops go on. It lasts over restarts.

    An entry that rests at the broker already stays there: `ctl kill` withdraws it.
    """
    place, name = _place(home, account)
    _switch(place, "on", reason, f"pause.{name.value}")
    _tell(place, account, "pause", {"reason": reason}, json=json)


@app.command("resume")
def resume(
    account: AccountOption,
    symbol: SwitchSymbol = None,
    home: HomeOption = None,
    json: JsonOption = False,
) -> None:
    """Lift the kill switch, which is one for both accounts, and the pause of this one.

    Its losses in a row count anew. With SYMBOL only that symbol's kill switch is lifted. Where
    PostgreSQL does not take it, nothing is lifted.
    """
    from tradebox.adapters.embedded.folders import usable
    from tradebox.execution.kill_switch import kill_name, pause_name, switch_file

    place, name = _place(home, account)
    named = {} if symbol is None else {"symbol": _symbol(symbol)}
    switches = [kill_name(**named)] if named else [kill_name(), pause_name(name)]
    try:
        _switch(place, "off", "resumed", *switches)
    except (StoreUnavailable, NotRunning) as error:
        why = f"{error.message}: nothing is lifted"
        raise type(error)(why, **error.fields) from error
    # The file goes last: it alone is enough, should this end between the two.
    with usable(place):
        for switch in switches:
            switch_file(place.kill_file, switch).unlink(missing_ok=True)
    _tell(place, account, "resume", named, json=json)


@app.command("kill")
def kill(
    symbol: SwitchSymbol = None,
    reason: ReasonOption = "",
    home: HomeOption = None,
    json: JsonOption = False,
) -> None:
    """Stop all entries now, or a symbol's, by file, memory and database; exits and stops go on.

    Entries that rest at the broker are withdrawn. Any one of the three is enough; a row for each
    account keeps who asked, where there is a store.
    """
    from tradebox.execution.kill_switch import kill_name, switch_file, write_kill_file

    place = find_home(home)
    named = {} if symbol is None else {"symbol": _symbol(symbol)}
    why, name = reason or "asked by a person", kill_name(**named)
    ways = {"file": write_kill_file(switch_file(place.kill_file, name), why), "database": False}
    memory: list[str] = []
    with suppress(NotRunning, NotDone):
        memory = list(_forward(home, "kill", reason=why, **named)["accounts"])
    with suppress(StoreUnavailable, NotRunning, HomeUnusable):
        _switch(place, "on", why, name, limit_s=KILL_STORE_S)
        ways["database"] = True
    if not (any(ways.values()) or memory):
        raise NotDone("neither the file, the database nor the engine took the kill switch")
    for account in memory if ways["database"] else ():
        with suppress(StoreUnavailable, NotRunning, NotDone):
            request(place, account, "kill", {"reason": why, **named}, KILL_ANSWER_S)
    show({"done": True, **named, "entries": "stopped", **ways, "memory": memory}, json=json)


@app.command("exit")
def exit_plan(
    plan_id: Annotated[str, typer.Argument(metavar="PLAN", help="The plan's id.")],
    account: AccountOption,
    home: HomeOption = None,
    json: JsonOption = False,
) -> None:
    """Have a plan leave now: an entry is withdrawn, a position is sold."""
    show(request(find_home(home), account, "exit", {"plan_id": plan_id}), json=json)


@app.command("flatten")
def flatten(account: AccountOption, home: HomeOption = None, json: JsonOption = False) -> None:
    """Pause an account and have every plan of it leave."""
    place, name = _place(home, account)
    _switch(place, "on", "flatten", f"pause.{name.value}")
    show(request(place, account, "flatten", {}), json=json)


def _place(home: Any, account: str) -> "tuple[Home, AccountName]":
    """Return the home and the account. Raises ConfigInvalid where the run leaves that one alone."""
    place, name = find_home(home), account_name(account)
    with suppress(NotRunning):
        check_trades(place, account)
    return place, name


def _symbol(text: str) -> str:
    """Return a symbol in capitals; "" is none, and does not mean all. Raises ConfigInvalid."""
    from tradebox.execution.kill_switch import is_symbol

    if not is_symbol(text.upper()):
        raise ConfigInvalid(f"SYMBOL={text}: no symbol: write it like AAPL or BRK.B")
    return text.upper()


def _switch(
    place: Home, value: str, reason: str, *names: str, limit_s: float = STORE_S_MAX
) -> None:
    from tradebox.adapters.postgres.commands import PgCommands

    async def switch(pool: "PgPool") -> None:
        commands = PgCommands(pool)
        for name in names:
            await commands.switch(name, value, reason)

    in_time(lambda: with_pool(place, switch), limit_s)


def _tell(place: Home, account: str, kind: str, args: dict[str, Any], *, json: bool) -> None:
    """Tell a running controller too; without one the switch waits for its start."""
    try:
        answer = request(place, account, kind, args)
    except NotRunning:
        answer = {"done": True, "account": account, "why": "nothing runs: it counts at its start"}
    show(answer, json=json)


def _forward(home: Any, question: str, **data: object) -> dict[str, Any]:
    """Ask the engine. Raises NotRunning without one, NotDone where it refuses."""
    place = find_home(home)
    answer = ask(place, "forward", to=question, data=data)
    if isinstance(answer.get("answer"), dict):
        return dict(answer["answer"])
    why = str(answer.get("error", "no answer"))
    if "engine" in why and "not there" in why:
        raise NotRunning(f"home {place.root}: {why}: it is being started again, ask once more")
    raise NotDone(f"the engine refuses: {why}", question=question)
