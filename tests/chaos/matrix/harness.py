"""A trading run on the stand-in world, faults put into it, and the judge who looks from outside.

Rules of this file:
- limits in seconds are compressed by configuration; what is judged scales with them by name;
- a row takes symbols of its own, so that rows can share a run; what concerns the whole account is
  lifted before the next row;
- spans tell the judge when nothing could be known, or when an order would be a fault;
- waiting may ask the engine's status; judging never does.
"""

import contextlib
import json
import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from chaos.matrix.clerk import Clerk
from support.books import account as account_of
from support.books import ledger
from support.judge import Case, Seen, Span, Violation, Window, judge
from support.judge_look import look
from support.run_bench import DEADLINE_S, Bench, Run, eventually
from tradebox.errors import ConfigInvalid, NotRunning
from tradebox.sim.control.client import ask
from tradebox.supervision.launch_errors import ControlUnreachable

ACCOUNTS = ("paper", "live")
SPEED = 20
ESTABLISHED = "01"
PERIODS = {
    "HEARTBEAT_S": "2",
    "HEARTBEAT_DEADLINE_S": "2",
    "SNAPSHOT_DEADLINE_S": "4",
    "ABSENCE_GAP_S": "1",
}
LIMITS = {
    "REJECTS_MAX": "1000",
    "REJECTS_PER_SYMBOL_MAX": "100",
    "STOPS_IN_ROW_MAX": "1000",
    "ENTRIES_PER_SYMBOL_MIN_MAX": "1000",
    "ORDERS_PER_S_MAX": "40",
    "ORDERS_PER_MIN_MAX": "2000",
    "ORDERS_PER_DAY_MAX": "100000",
    "RATE_LATCH_MAX": "1000",
    "ORDER_QUANTITY_MAX": "100000",
    "ORDER_NOTIONAL_USD_MAX": "900000",
    "POSITION_NOTIONAL_USD_MAX": "900000",
    "GROSS_NOTIONAL_USD_MAX": "5000000",
    "OPEN_RISK_NLV_SHARE_MAX": "0.5",
    "DAY_LOSS_NLV_SHARE_MAX": "0.5",
    "DRAWDOWN_NLV_SHARE_MAX": "0.5",
}
"""What many rows on one account would use up; each limit has tests of its own."""

SYMBOLS = (
    "AAPL", "MSFT", "NFLX", "INTC", "ORCL", "XOM", "SLB", "HAL", "COP", "VLO", "C", "WFC", "MS",
    "JNJ", "MRK", "CELG", "MCD", "DIS", "WMT", "TGT", "PG", "BA", "FDX", "UAL", "F", "NEM", "HON",
    "UTX", "CMCSA", "QQQ", "IWM", "XLE", "GLD", "NVDA", "DIA", "GS", "BIDU", "BIIB", "AMZN",
)  # fmt: skip
"""SPY and GOOGL are left to whoever wants a position that rests through everything."""

HEARTBEATS_S = 4 * float(PERIODS["HEARTBEAT_S"])
"""How long a dead link may look alive: two waits and two misses. By default 30 s of real time."""

STARVING = (
    "finnhub.silent_symbol",
    "gateway.freeze_market_data",
    "alphavantage.empty_quote",
    "yahoo.not_found",
    "yahoo.stream_silent_symbol",
)
"""What keeps a symbol's prices from everybody, vendor by vendor."""

FINAL = ("closed", "cancelled", "refused")
NOW_S_MIN = 200.0
"""Real seconds before the market's close below which a run is too old for another row."""

PLAN = "SELECT * FROM trade.plan WHERE plan_id = $1"
STORY = """
SELECT kind, at_ns, data FROM trade.event WHERE symbol = $1 ORDER BY seq DESC LIMIT 12
"""
DENIALS = "SELECT check_name FROM trade.denial WHERE plan_id = $1 ORDER BY denial_id"
ORDERS_OF = "SELECT * FROM trade.broker_order WHERE plan_id = $1 ORDER BY created_at, order_id"


def compressed(**more: str) -> dict[str, str]:
    """Return the environment of a run whose limits are short. more: names without prefix."""
    found = {
        f"TRADEBOX_{account.upper()}_{name}": value
        for account in ACCOUNTS
        for name, value in {
            **PERIODS,
            **{f"LIMITS_{limit}": value for limit, value in LIMITS.items()},
        }.items()
    }
    own = {
        "TRADEBOX_SIM_DEMO_PLANS": "false",
        "TRADEBOX_LAUNCHER_DEATHS_MAX": "1000",
        "TRADEBOX_LAUNCHER_STOP_S_MAX": "30",
        "TRADEBOX_LAUNCHER_LEASH_MS": "5000",  # a busy machine is no hung engine
    }
    return {**found, **own, **{f"TRADEBOX_{name}": value for name, value in more.items()}}


class World:
    """One run, its stand-in world, and what was done to them."""

    def __init__(self, box: Bench, run: Run) -> None:
        self.box = box
        self.run = run
        self.clerk = Clerk(box)
        self.spans: list[Span] = []
        self._symbols = list(SYMBOLS)
        self._refused: set[str] = set()

    @classmethod
    def started(cls, box: Bench, *, speed: int = SPEED, config: str = "", **env: str) -> "World":
        """Start a run with short limits and wait until orders can be sent.

        config: of config.toml; env: settings, e.g. PAPER_EXIT_COLLAR_SHARE="0.02".
        """
        if config:
            (box.home / "config.toml").write_text(config)
        run = box.run("--speed", str(speed), **compressed(**env)).ready()
        world = cls(box, run)
        world.until_clean()
        return world

    def close(self) -> None:
        self.clerk.close()

    # --- the stand-in world ---

    def sim(self, path: str, body: dict[str, object] | None = None) -> dict[str, Any]:
        """Ask the simulator."""
        return ask(self.box.home / "sim", path, body)

    def fault(self, name: str, **arguments: object) -> None:
        """Set a fault, e.g. fault("gateway.drop_ack", account="paper", count=1)."""
        self.sim("/faults/set", {"name": name, "arguments": arguments})

    def clear(self, name: str = "") -> None:
        """End a fault, those of a board, or all."""
        self.sim("/faults/clear", {"name": name} if name else {})

    def is_spent(self, name: str) -> bool:
        """Say whether a fault with a count has happened so often."""
        board, _, fault = name.partition(".")
        (row,) = [one for one in self.sim("/faults")[board] if one["name"] == fault]
        return row["active"] == []

    def notice(self, code: int, account: str = "paper", text: str = "", repeats: int = 1) -> None:
        """Have a gateway say a code to every client."""
        self.fault("gateway.notice", account=account, code=code, text=text, repeats=repeats)

    def gap(self, symbol: str, percent: float) -> None:
        """Move a price at once and for good."""
        self.fault("market.gap", symbol=symbol, percent=float(percent))

    def price(self, symbol: str) -> float:
        """Return the last price at the exchange."""
        return float(self.sim(f"/market?symbol={symbol}")["last"])

    def ledger(self, kind: str = "", **fields: object) -> list[dict[str, Any]]:
        """Return the ledger's rows of a kind that have these values."""
        return [
            row
            for row in ledger(self.box)
            if kind in ("", row["kind"])
            and all(row.get(name) == value for name, value in fields.items())
        ]

    def placed(self, symbol: str, account: str = "paper") -> list[dict[str, Any]]:
        """Return the order_placed rows of our orders in a symbol."""
        rows = self.ledger("order_placed", account=account)
        return [
            row
            for row in rows
            if row["ticket"]["symbol"] == symbol and row["ticket"]["order_ref"].startswith("tb")
        ]

    def entries(self, symbol: str, account: str = "paper") -> list[dict[str, Any]]:
        """Return the order_placed rows of entries in a symbol: no stop, no exit."""
        return [
            row
            for row in self.placed(symbol, account)
            if row["ticket"]["tif"] != "IOC" and row["ticket"]["order_type"] != "STP"
        ]

    def codes(self, account: str = "paper", since_ns: int = 0) -> list[int]:
        """Return every code that was said about an order of an account."""
        rows = self.ledger("order_code", account=account)
        return [row["code"] for row in rows if row["mono_ns"] >= since_ns]

    def held(self, symbol: str, account: str = "paper") -> int:
        """Return what the exchange says is held."""
        found = account_of(self.box, account)["positions"]
        return next((row["quantity"] for row in found if row["symbol"] == symbol), 0)

    def stops(self, symbol: str, account: str = "paper") -> list[dict[str, Any]]:
        """Return the stops that work at the exchange."""
        return [
            order
            for order in account_of(self.box, account)["open_orders"]
            if order["symbol"] == symbol and order["type"] == "STP"
        ]

    def is_covered(self, symbol: str, account: str = "paper") -> bool:
        """Say whether exactly one stop of the position's size works at the exchange."""
        sizes = [row["quantity"] - row["filled"] for row in self.stops(symbol, account)]
        held = abs(self.held(symbol, account))
        return sizes == ([held] if held else [])

    def until_covered(self, symbol: str, quantity: int, account: str = "paper") -> None:
        """Wait until so many shares are held and covered."""
        eventually(
            lambda: (
                abs(self.held(symbol, account)) == quantity and self.is_covered(symbol, account)
            ),
            f"{quantity} {symbol} covered",
        )

    # --- plans ---

    def symbol(self) -> str:
        """Return a symbol that no row of this run has used."""
        assert self._symbols, "every symbol was used: start another run"
        return self._symbols.pop(0)

    @property
    def symbols_left(self) -> int:
        return len(self._symbols)

    def add(self, symbol: str, account: str = "paper", **document: Any) -> str:
        """Store a plan: long 40 at the market with its stop 20 % below, unless told otherwise."""
        base = {
            "symbol": symbol,
            "side": "long",
            "size": {"quantity": 40},
            "entry": {"type": "market", "valid_until": 300},
            "stop": {"percent": 20},
        }
        return self.clerk.add_plan(account, {**base, **document})

    def open(self, symbol: str, account: str = "paper", **document: Any) -> str:
        """Store a plan and wait until its position is covered at the exchange."""
        plan_id = self.add(symbol, account, **document)
        self.until_state(plan_id, "open")
        eventually(
            lambda: self.held(symbol, account) and self.is_covered(symbol, account),
            f"{plan_id} covered",
        )
        return plan_id

    def plan(self, plan_id: str) -> dict[str, Any]:
        """Return a plan's row."""
        return self.clerk.rows(PLAN, plan_id)[0]

    def until_state(self, plan_id: str, *states: str) -> str:
        """Wait until a plan is in one of these states; return which."""

        def look_at() -> str | None:
            state = str(self.plan(plan_id)["state"])
            return state if state in states else None

        return str(eventually(look_at, f"{plan_id} {states}: {self.clerk.rows(PLAN, plan_id)}"))

    def leave(self, plan_id: str, account: str = "paper") -> None:
        """Have a plan leave, and wait until it has."""
        answer = self.clerk.command(account, "exit", plan_id=plan_id)
        assert answer.get("done"), answer
        self.until_state(plan_id, *FINAL)

    def orders(self, plan_id: str) -> list[dict[str, Any]]:
        """Return a plan's orders as PostgreSQL has them."""
        return self.clerk.rows(ORDERS_OF, plan_id)

    def until_denied(self, plan_id: str, *checks: str) -> None:
        """Wait until a plan's entry was refused by one of these checks of the gate."""
        eventually(
            lambda: {row["check_name"] for row in self.clerk.rows(DENIALS, plan_id)} & set(checks),
            f"{plan_id} denied by {checks}",
        )

    def alerts(self, kind: str, account: str = "paper", since_ns: int = 0) -> list[dict[str, Any]]:
        """Return the alerts of a kind, by the wall clock later than a monotonic time."""
        offset_ns = time.time_ns() - time.monotonic_ns()
        rows = self.clerk.rows(
            "SELECT * FROM trade.alert WHERE kind = $1 AND (account = $2 OR account IS NULL)"
            " ORDER BY alert_id",
            kind,
            account,
        )
        since_s = (since_ns + offset_ns) / 1e9
        return [row for row in rows if row["recorded_at"].timestamp() >= since_s]

    def until_told(
        self,
        kind: str,
        account: str = "paper",
        since_ns: int = 0,
        deadline_s: float = DEADLINE_S,
    ) -> list[dict]:
        """Wait until an alert of a kind stands in PostgreSQL."""
        found = eventually(
            lambda: self.alerts(kind, account, since_ns), f"alert {kind}", deadline_s
        )
        return list(found)

    # --- the run ---

    def link(self, account: str = "paper") -> str:
        """Return the state of a link as the engine shows it, "" while nobody answers."""
        try:
            shown = self.box.status()
        except ControlUnreachable:
            return ""
        return next((row["link"] for row in shown["accounts"] if row["name"] == account), "")

    def until_link(self, account: str, *states: str, deadline_s: float = DEADLINE_S) -> str:
        """Wait until a link shows one of these states; return which."""

        def look_at() -> str | None:
            state = self.link(account)
            return state if state in states else None

        return str(eventually(look_at, f"{account} {states}", deadline_s))

    def until_clean(self, *accounts: str) -> None:
        """Wait until links are CLEAN."""
        for account in accounts or ACCOUNTS:
            self.until_link(account, "CLEAN")

    def connections(self, account: str = "paper") -> set[str]:
        """Return the client sides of the connections to a gateway, as the kernel knows them."""
        ready = json.loads((self.box.home / "sim" / "ready.json").read_text())
        port = int(str(ready[f"gateway_{account}"]).rpartition(":")[2])
        found = set()
        for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
            local, remote, state = line.split()[1:4]
            if state == ESTABLISHED and int(remote.rpartition(":")[2], 16) == port:
                found.add(local)
        return found

    def reconnected(self, cut: Callable[[], object], account: str = "paper") -> None:
        """Cut a link, wait until it stands on another connection, and is CLEAN."""
        before = self.connections(account)
        with self.span("away", account):
            cut()
            eventually(lambda: before - self.connections(account), "the old one is gone")
            eventually(lambda: self.connections(account) - before, f"{account} connects again")
            self.until_entries(account)

    def until_entries(self, account: str = "paper") -> None:
        """Wait until a controller answers that books and broker were compared after now."""
        eventually(
            lambda: self.clerk.command(account, "reconcile").get("done"), f"{account} reconciled"
        )
        self.until_link(account, "CLEAN", "WINDOW")

    def engine_pid(self) -> int:
        """Return the engine's process."""
        return int(eventually(lambda: self.box.status().get("pid"), "an engine"))

    def kill_engine(self) -> None:
        """SIGKILL the engine."""
        os.kill(self.engine_pid(), signal.SIGKILL)

    def until_new_engine(self, old_pid: int) -> None:
        """Wait until another engine has clean links."""
        eventually(lambda: self.box.status().get("pid") not in (None, old_pid), "another engine")
        eventually(lambda: self.link("paper") != "" or None, "the engine's status")
        self.until_clean()

    def server_pid(self, name: str) -> int:
        """Return the process of a server: sim, postgres or redis."""

        def look_at() -> int | None:
            rows = {row["name"]: row for row in self.box.status().get("servers", [])}
            row = rows.get(name, {})
            return row.get("pid") if row.get("state") == "ready" else None

        return int(eventually(look_at, f"{name} is ready"))

    @contextlib.contextmanager
    def frozen(self, name: str) -> Iterator[None]:
        """Stop a server's process for the length of a block."""
        pid = self.server_pid(name)
        os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(pid, signal.SIGCONT)

    # --- spans ---

    @contextlib.contextmanager
    def span(self, what: str, account: str = "", symbol: str = "") -> Iterator[None]:
        """Tell the judge of a stretch of time: blind, spoilt, away or store_away."""
        from_ns = time.monotonic_ns()
        try:
            yield
        finally:
            self.spans.append(Span(what, account, symbol, from_ns, time.monotonic_ns()))

    @contextlib.contextmanager
    def blind(
        self, account: str = "paper", lift: Callable[[], object] = lambda: None
    ) -> Iterator[None]:
        """No order may leave within; then `lift` ends the fault, and the link is waited for.

        Until it is CLEAN again nobody can know or act. account "": both.
        """
        with self.span("away", account):
            try:
                with self.span("blind", account):
                    yield
            finally:
                lift()
            self.until_clean(*([account] if account else []))

    def stays_out(self, symbol: str, account: str = "paper", seconds: float = 1.5) -> None:
        """See that nothing is sent in a symbol for some real seconds."""
        until_s = time.monotonic() + seconds
        while time.monotonic() < until_s:
            self._assert_out(symbol, account)
            time.sleep(0.1)
        self._assert_out(symbol, account)

    def _assert_out(self, symbol: str, account: str) -> None:
        sent = self.placed(symbol, account)
        assert sent == [], (sent, [dict(row) for row in self.clerk.rows(STORY, symbol)])

    def starve(self, symbol: str) -> None:
        """Let no vendor and no gateway say a price of a symbol any more."""
        for name in STARVING:
            self.fault(name, symbol=symbol)

    def feed(self, symbol: str) -> None:
        """Let prices of every symbol be said again."""
        del symbol
        for name in STARVING:
            self.clear(name)

    # --- the judge ---

    def look(self, *, by_client: bool = True) -> Seen:
        """Look at everything from outside; without the official client it is cheap."""
        return look(self.box, self.spans, self.clerk.rows, by_client=by_client)

    def until_settled(self) -> None:
        """End every fault, and wait until links are clean and nothing is under way."""
        with contextlib.suppress(NotRunning):
            self.clear()
        self.until_clean()

        def is_settled() -> bool:
            try:
                case = Case(self.look(by_client=False))
            except (NotRunning, AssertionError):
                return False
            is_whole = not [one for one in judge(case.seen) if one.rule == "I10"]
            return is_whole and not _bare_now(case)

        eventually(is_settled, "books agree and positions are covered")

    def judged(self, *excused: str) -> list[Violation]:
        """Return what did not hold, once everything has settled.

        excused: invariants, or invariant:subject, that the fault itself breaks.
        """
        unsettled = None
        try:
            self.until_settled()
        except AssertionError as error:  # the judge names what never settled
            unsettled = error
        self._refused |= set(excused)
        found = judge(self.look(), tuple(self._refused))
        if unsettled is not None and not found and not self._refused:
            raise unsettled
        return found

    def windows(self) -> list[Window]:
        """Return every uncovered stretch so far."""
        return Case(self.look(by_client=False)).windows()

    def real_s_left(self) -> float:
        """Return the real seconds until the market closes; 0 while it is closed."""
        clock = self.sim("/clock")
        if not clock["is_open"]:
            return 0.0
        closes_ns = _ns_of(str(clock["closes"]))
        return float((closes_ns - clock["now_ns"]) / 1e9 / clock["speed"])

    @property
    def is_worn(self) -> bool:
        """Say whether another row should have a fresh run: no symbols or no session left."""
        return self.symbols_left < 4 or self.real_s_left() < NOW_S_MIN


def entered_once(world: World, symbol: str, plan_id: str) -> None:
    """Wait until a plan is open and covered; it entered once, and may leave."""
    world.until_state(plan_id, "open")
    world.until_covered(symbol, 40)
    assert len(world.entries(symbol)) == 1
    world.leave(plan_id)


def _bare_now(case: Case) -> bool:
    now_ns = case.seen.now_ns
    return any(to_ns == now_ns for _, _, _, to_ns in case.lives.uncovered(now_ns))


def _ns_of(text: str) -> int:
    return round(datetime.fromisoformat(text).timestamp() * 1e9)


def mono_ns() -> int:
    """Return the machine's monotonic time, in which the ledger's rows are stamped."""
    return time.monotonic_ns()


def refuses(call: Callable[[], object]) -> bool:
    """Say whether the simulator refuses a request."""
    try:
        call()
    except ConfigInvalid:
        return True
    return False


def taken(rows: list[Mapping[str, Any]]) -> int:
    """Return the signed shares of execution rows."""
    return sum((1 if row["side"] == "BUY" else -1) * row["shares"] for row in rows)
