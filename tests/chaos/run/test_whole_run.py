"""One run from an empty home to its end: what it prints, shows, holds, and gives to nobody."""

import asyncio
import contextlib
import json
import signal
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import asyncpg
import pytest

from support.official import OfficialClient
from support.run_bench import STEPS, Bench, Run, bench, eventually
from tradebox.adapters.embedded.addresses import DATABASE
from tradebox.adapters.embedded.secrets import Login
from tradebox.config import FORBIDDEN_SIM_PORTS
from tradebox.errors import ExitCode

pytestmark = [pytest.mark.xdist_group("whole-run"), pytest.mark.timeout(240)]

LIVE_ORDERS = """
SELECT order_ref, symbol, side, quantity FROM trade.broker_order
WHERE account = $1 AND state IN ('acked', 'working', 'partial')
"""
POSITIONS = "SELECT symbol, quantity FROM trade.position WHERE account = $1 AND quantity <> 0"


@dataclass
class Story:
    """What was seen while the run was up, and what was left of it."""

    secrets: dict[str, str] = field(default_factory=dict)
    status: dict[str, Any] = field(default_factory=dict)
    status_text: str = ""
    plans: list[dict[str, Any]] = field(default_factory=list)
    agreed: dict[str, tuple[str, tuple[dict, dict]]] = field(default_factory=dict)
    logins: dict[str, str] = field(default_factory=dict)
    kept: str = ""
    second: Any = None
    strangers: list[tuple[int, bytes]] = field(default_factory=list)
    watched_ports: list[int] = field(default_factory=list)
    stop_s: float = 0.0
    code: int = -1
    lines: list[dict[str, Any]] = field(default_factory=list)
    out: str = ""
    err: str = ""
    logs: str = ""
    left: list[int] = field(default_factory=list)
    left_in_tmp: list[str] = field(default_factory=list)

    @property
    def summary(self) -> dict[str, Any]:
        return self.lines[-1]


@contextlib.contextmanager
def listening(ports: frozenset[int]) -> Iterator[list[socket.socket]]:
    """Listen where real gateways do, on the ports that are free here."""
    with contextlib.ExitStack() as stack:
        servers = []
        for port in sorted(ports):
            server = stack.enter_context(socket.socket())
            server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with contextlib.suppress(OSError):
                server.bind(("127.0.0.1", port))
                server.listen()
                server.setblocking(False)
                servers.append(server)
        yield servers


def accepted(servers: list[socket.socket]) -> list[tuple[int, bytes]]:
    """Return who knocked at the listening sockets, and with what bytes."""
    found = []
    for server in servers:
        with contextlib.suppress(BlockingIOError):
            peer, _ = server.accept()
            with peer:
                peer.settimeout(1)
                found.append((server.getsockname()[1], peer.recv(4096)))
    return found


def seen_by_both(box: Bench, account: str, address: str) -> tuple[str, tuple[dict, dict]]:
    """Return what PostgreSQL and the official client both hold at one moment."""
    host, _, port = address.rpartition(":")
    with OfficialClient((host, int(port)), 77) as client:
        seen: list[object] = []

        def look() -> tuple[dict, dict] | None:
            before = held(box, account)
            seen[:] = [before, client.look()]
            return before if seen[1] == before == held(box, account) else None

        try:
            return client.seen.account, eventually(look, "PostgreSQL and the gateway agree")
        except AssertionError as error:
            raise AssertionError(f"{account}: {error}: {seen}") from None


def held(box: Bench, account: str) -> tuple[dict, dict]:
    positions = {row["symbol"]: row["quantity"] for row in box.rows(POSITIONS, account)}
    orders = {
        row["order_ref"]: (row["symbol"], row["side"], row["quantity"])
        for row in box.rows(LIVE_ORDERS, account)
    }
    return positions, orders


def try_logins(box: Bench) -> dict[str, str]:
    """Return how PostgreSQL answers each role without and with a wrong password."""
    folder = str(box.socket_dir / "pg")
    answers = {}

    async def attempt(user: str, password: str | None) -> str:
        try:
            connection = await asyncpg.connect(
                host=folder, user=user, password=password, database=DATABASE, timeout=20
            )
        except asyncpg.PostgresError as error:
            return type(error).__name__
        await connection.close()
        return "let in"

    for role in ("postgres", "trade_rw", "research_rw", "console_ro"):
        for password in (None, "wrong", ""):
            answers[f"{role} {password}"] = asyncio.run(attempt(role, password))
    own = (box.home / "secrets" / Login.TRADE.value).read_text()
    answers["trade_rw own"] = asyncio.run(attempt("trade_rw", own))
    return answers


def is_a_whole_show(run: Run, box: Bench) -> bool:
    whole = [plan for plan, kinds in run.steps().items() if set(kinds) >= set(STEPS)]
    if not whole:
        return False
    closed = {plan["plan_id"] for plan in box.json("plan", "list", "--all") if plan["closed_at"]}
    return bool(closed & set(whole))


@pytest.fixture(scope="module")
def story() -> Iterator[Story]:
    seen = Story()
    with bench() as box, listening(FORBIDDEN_SIM_PORTS) as servers:
        seen.watched_ports = [server.getsockname()[1] for server in servers]
        run = box.run("--speed", "60")
        run.ready()
        seen.secrets = box.secrets()
        links = ["CLEAN", "CLEAN"]
        run.when(lambda shown: [row["link"] for row in shown["accounts"]] == links, "CLEAN links")
        kept = box.keep_a_plan(run, "live")
        run.wait_event("PlanStepTaken", kind="entry", account="paper", count=3)
        seen.status = run.when(lambda shown: shown["positions"], "a position in the status")
        seen.status_text = box.command("status").stdout
        for row in seen.status["accounts"]:
            seen.agreed[row["name"]] = seen_by_both(box, row["name"], row["gateway"])
        seen.logins = try_logins(box)
        seen.second = box.command("run", "--no-tui", "--json", "--for", "5")
        eventually(lambda: is_a_whole_show(run, box), "a demo plan with a whole life")
        seen.plans = box.json("plan", "list", "--all")
        began = time.monotonic()
        run.send(signal.SIGTERM)
        seen.code = run.wait()
        seen.stop_s = time.monotonic() - began
        seen.lines, seen.out, seen.err = run.lines(), run.out, run.err
        seen.logs = "".join(
            path.read_text(errors="replace")
            for path in (box.home / "logs").rglob("*")
            if path.is_file()
        )
        seen.left = box.processes()
        seen.left_in_tmp = [path.name for path in box.tmp.iterdir()]
        seen.strangers = accepted(servers)
        seen.kept = kept
        yield seen


def test_it_ends_in_order_and_in_time(story: Story) -> None:
    assert (story.code, story.err) == (ExitCode.OK, "")
    assert story.stop_s < 15  # 5 s on a machine of its own
    assert (story.left, story.left_in_tmp) == ([], [])


def test_every_line_is_json_and_says_simulated(story: Story) -> None:
    assert len(story.lines) > 20
    assert {line["world"] for line in story.lines} == {"SIMULATED"}
    assert all("event" in line for line in story.lines[:-1])
    assert story.out.endswith("\n")


def test_the_last_line_is_the_summary_of_the_contract(story: Story) -> None:
    summary = story.summary
    assert summary["summary"] is True
    for name in ("received", "admitted", "published"):
        assert type(summary["ticks"][name]) is int
    assert summary["ticks"]["received"] >= summary["ticks"]["admitted"] > 1000
    assert summary["ticks"]["admitted"] >= summary["ticks"]["published"] > 100
    assert summary["orders_sent"] >= 2 * len(summary["plans_closed"])
    assert summary["fills_booked"] >= 2
    assert isinstance(summary["restarts"], int)
    for position in summary["positions"]:
        assert set(position) >= {
            "account", "symbol", "quantity", "stop_quantity", "in_flight_quantity", "covered",
        }  # fmt: skip
        whole = position["stop_quantity"] + position["in_flight_quantity"]
        assert position["covered"] is (whole == abs(position["quantity"]))
    kept = [row for row in summary["positions"] if row["account"] == "live"]
    assert [(row["symbol"], row["quantity"], row["covered"]) for row in kept] == [("SPY", 40, True)]


def test_a_demo_plan_shows_its_whole_life_with_reasons(story: Story) -> None:
    plans = story.summary["plans_closed"]
    for plan in plans:
        assert plan["id"]
        assert plan["symbol"] in plan["id"]
        assert plan["steps"][0]["kind"] == "entry"
        assert plan["steps"][-1]["kind"] == "exit"
        for step in plan["steps"]:
            assert isinstance(step["price"], float)
            assert step["price"] > 0
            assert step["source"] in ("finnhub", "broker")
            assert step["reason"]
            at = datetime.fromisoformat(step["at"])
            assert at.utcoffset().total_seconds() == 0
            assert step["kind"] in {*STEPS, "trail", "move_stop"}
    whole = [plan for plan in plans if {step["kind"] for step in plan["steps"]} >= set(STEPS)]
    assert whole
    printed = {line["plan_id"] for line in story.lines if line.get("event") == "PlanStepTaken"}
    assert {plan["id"] for plan in plans} <= printed


def test_the_status_is_one_object_of_the_contract(story: Story) -> None:
    status = story.status
    assert isinstance(status["pid"], int)
    assert isinstance(status["launcher_pid"], int)
    assert status["pid"] != status["launcher_pid"]
    assert status["uptime_s"] > 0
    assert status["profile"] == "sim"
    assert {"name", "state", "restarts"} <= set(status["actors"][0])
    names = {actor["name"] for actor in status["actors"]}
    assert names >= {
        "stores.journal", "stores.bus", "market.ingest.finnhub", "market.feed_a", "market.feed_b",
        "market.publisher", "managers.manager_a", "managers.manager_b", "trading.paper.link",
        "trading.paper.reconciler", "trading.paper.controller", "trading.live.controller",
        "dashboard", "alerts", "metrics",
    }  # fmt: skip
    assert {row["name"] for row in status["accounts"]} == {"paper", "live"}
    for account in status["accounts"]:
        assert account["account"].startswith("SIM")
        assert account["gateway"].startswith("127.0.0.1:")
        assert account["link"]
    assert set(status["endpoints"]) >= {
        "postgres", "redis", "finnhub", "alphavantage", "yahoo", "sim_control",
    }  # fmt: skip
    for name in ("postgres", "redis", "finnhub", "sim_control"):
        assert status["endpoints"][name]
    for position in status["positions"]:
        assert set(position) >= {
            "account", "symbol", "quantity", "stop_quantity", "in_flight_quantity", "covered",
        }  # fmt: skip
    assert "SIMULATED" in story.status_text


def test_the_official_client_sees_what_postgresql_holds(story: Story) -> None:
    accounts = {row["name"]: row["account"] for row in story.status["accounts"]}
    assert {name: account for name, (account, _) in story.agreed.items()} == accounts
    positions, orders = story.agreed["live"][1]
    assert positions == {"SPY": 40}
    assert list(orders.values()) == [("SPY", "SELL", 40)]


def test_no_secret_is_shown_anywhere(story: Story) -> None:
    assert len(story.secrets) >= 8
    assert story.logs
    shown = json.dumps(story.status) + story.status_text + story.out + story.err + story.logs
    assert [name for name, value in story.secrets.items() if value in shown] == []


def test_no_role_gets_in_without_its_password(story: Story) -> None:
    assert story.logins.pop("trade_rw own") == "let in"
    assert set(story.logins.values()) == {"InvalidPasswordError"}


def test_nothing_knocks_where_a_real_gateway_listens(story: Story) -> None:
    if not story.watched_ports:
        pytest.skip("every port of a real gateway is taken on this machine")
    assert story.strangers == []


def test_a_second_run_on_the_home_is_refused(story: Story) -> None:
    assert (story.second.returncode, story.second.stdout) == (ExitCode.HOME, "")
    refusal = json.loads(story.second.stderr)
    assert "another `tradebox run` uses it" in refusal["error"]
    assert refusal["exit_code"] == ExitCode.HOME


def test_plans_can_be_listed(story: Story) -> None:
    demo = [plan for plan in story.plans if plan["is_demo"]]
    assert len(demo) > 2
    assert {plan["account"] for plan in demo} == {"paper"}
    mine = [plan for plan in story.plans if not plan["is_demo"]]
    assert [(plan["plan_id"], plan["state"]) for plan in mine] == [(story.kept, "open")]


@pytest.mark.slow
def test_a_newcomer_sees_a_whole_trade_in_90_seconds_at_the_default_speed() -> None:
    with bench() as box:
        run = box.run("--for", "90")
        assert (run.wait(180), run.err) == (ExitCode.OK, "")
        plans = run.lines()[-1]["plans_closed"]
        kinds = [{step["kind"] for step in plan["steps"]} for plan in plans]
        assert any(seen >= set(STEPS) for seen in kinds)
        assert box.processes() == []
