"""The fault matrix, rows 1 to 32: gateway, link, feed, kills, executions.

Rules of this file:
- a row sets its fault on a real run, sees what must happen from outside, and leaves; the judge
  then looks at everything that ever happened in that run;
- what is asserted here is what the row is about; the invariants are the judge's.
"""

import asyncio
import contextlib
import os
import random
import signal
import threading
import time
from typing import Any

import pytest

from chaos.matrix.acts import Acts, Runs, started
from chaos.matrix.harness import HEARTBEATS_S, World, mono_ns
from support.judge import OVER_STATES
from support.run_bench import bench, eventually, in_thread
from tradebox.adapters.embedded.secrets import Login
from tradebox.adapters.postgres.connect import connected
from tradebox.adapters.postgres.engine_lock import LOCK_KEY, owner_of
from tradebox.errors import ExitCode, StoreUnavailable

pytestmark = [pytest.mark.xdist_group("matrix"), pytest.mark.timeout(400)]

acts = Acts()
PAPER = {"account": "paper", "client_id": 11}
DETECTED_S = 35.0
"""How long a dead gateway may go unnoticed with the periods of every day."""
WINDOW = """
[paper]
windows = ["Mon 10:10 25"]
window_freeze_min = 5
"""
MOVED = """
SELECT data ->> 'state' AS state, data ->> 'cause' AS cause, data ->> 'stop_price' AS stop_price
FROM trade.event WHERE kind = 'order_moved' AND order_ref = $1 ORDER BY seq
"""
LIFE: dict[str, Any] = {
    "stop": {"percent": 2},
    "steps": [
        {"at": {"r": "0.25"}, "move_stop": {"to": "break_even"}},
        {"at": {"r": "0.5"}, "take": {"fraction": "0.5"}},
        {"at": {"r": "0.5"}, "trail": {"percent": "1"}},
    ],
}
DELAYING = (
    "finnhub.stale_time",
    "gateway.delayed_data",
    "alphavantage.delayed_suffix",
    "yahoo.stale_time",
    "yahoo.stream_silent_symbol",
)
TAKE_LOCK = "SELECT pg_advisory_lock($1)"
END_HOLDER = """
SELECT pg_terminate_backend(pid) FROM pg_locks
WHERE locktype = 'advisory' AND granted AND objsubid = 1
  AND (classid::bigint << 32) | objid::bigint = $1
"""
KILLS = 12
IMPLAUSIBLE_ID = 1_000_000


def moves(world: World, ref: str) -> list[dict[str, Any]]:
    return world.clerk.rows(MOVED, ref)


def refs(world: World, plan_id: str, role: str) -> list[str]:
    return [row["order_ref"] for row in world.orders(plan_id) if row["role"] == role]


def fills(world: World, symbol: str) -> list[int]:
    """Return the sizes of the executions that PostgreSQL has booked in a symbol."""
    rows = world.clerk.rows(
        "SELECT quantity FROM trade.fill WHERE symbol = $1 ORDER BY exec_stem", symbol
    )
    return [row["quantity"] for row in rows]


def executed(world: World, symbol: str) -> list[dict[str, Any]]:
    return world.ledger("execution", account="paper", symbol=symbol)


def payload_of(row: dict[str, Any]) -> list[str]:
    """Return the fields of a message of the ledger."""
    return bytes.fromhex(row["payload"]).decode().split("\0")


def last_execution(world: World, symbol: str) -> dict[str, Any]:
    return executed(world, symbol)[-1]


def take_back(world: World, symbol: str) -> None:
    """Bust the newest execution in a symbol."""
    order_id = last_execution(world, symbol)["order_id"]
    world.fault("gateway.bust_execution", account="paper", order_id=order_id)


# --- the link and the gateway ---


@acts.row(1, own=True)
def row_01_a_stopped_gateway_is_noticed_and_waited_for(world: World) -> dict[str, Any]:
    held, other = world.symbol(), world.symbol()
    world.open(held)
    sim = world.server_pid("sim")
    began_s = time.monotonic()

    def go_on() -> None:
        os.kill(sim, signal.SIGCONT)

    with world.blind("", go_on):
        os.kill(sim, signal.SIGSTOP)
        for account in ("paper", "live"):
            world.until_link(account, "DOWN")
        noticed_s = time.monotonic() - began_s
        plan_id = world.add(other)
    world.until_state(plan_id, "open")
    assert len(world.entries(other)) == 1
    assert noticed_s < DETECTED_S
    return {"noticed_s": round(noticed_s, 1), "by_heartbeats_s": HEARTBEATS_S}


@acts.row(2)
def row_02_a_reset_connection_sends_nothing_before_its_reconcile(world: World) -> None:
    held, other = world.symbol(), world.symbol()
    world.open(held)
    plans = []

    def cut() -> None:
        world.fault("gateway.disconnect", **PAPER)
        plans.append(world.add(other))

    world.reconnected(cut)
    world.until_state(plans[0], "open")
    assert len(world.entries(other)) == 1
    assert world.is_covered(held)


@acts.row(3)
def row_03_what_went_into_a_half_open_connection_is_unknown_until_proved(world: World) -> None:
    symbol = world.symbol()
    with world.span("away", "paper"):
        world.fault("gateway.half_open", account="paper")
        plan_id = world.add(symbol)
        ref = eventually(lambda: refs(world, plan_id, "entry"), "an intent")[0]
        eventually(
            lambda: "sent_unknown" in [move["state"] for move in moves(world, ref)], "unknown"
        )
        assert world.placed(symbol) == []
        world.clear("gateway.half_open")
        world.until_entries()
    eventually(lambda: moves(world, ref)[-1]["state"] == "never_sent", "its absence is proved")
    assert "two complete reads" in moves(world, ref)[-1]["cause"]
    world.until_state(plan_id, "open", "cancelled", "refused")
    assert len(world.entries(symbol)) <= 1


def blocked_without_a_whole_snapshot(world: World, fault: str, message_id: int) -> None:
    held, other = world.symbol(), world.symbol()
    world.open(held)
    since_ns = mono_ns()
    world.fault(fault, **PAPER, message_id=message_id)
    world.fault("gateway.disconnect", **PAPER)
    with world.blind("paper", lambda: world.clear(fault)):
        plan_id = world.add(other)
        world.until_told("gateway_mute", since_ns=since_ns)
        assert world.placed(other) == []
        (ours,) = world.clerk.rows(
            "SELECT quantity FROM trade.position WHERE account = 'paper' AND symbol = $1", held
        )
        assert ours["quantity"] == 40, "silence is no flat account"
    world.until_state(plan_id, "open")
    assert len(world.entries(other)) == 1


@acts.row(4)
def row_04_a_mute_snapshot_is_no_flat_account(world: World) -> None:
    blocked_without_a_whole_snapshot(world, "gateway.mute_request", 61)


@acts.row(5)
def row_05_executions_without_their_end_clean_nothing(world: World) -> None:
    blocked_without_a_whole_snapshot(world, "gateway.omit_end", 55)


def lost_and_restored(world: World, code: int) -> None:
    held, other = world.symbol(), world.symbol()
    world.open(held)
    with world.blind("paper", lambda: world.clear("gateway.link_loss")):
        world.fault("gateway.link_loss", account="paper", code=code)
        plan_id = world.add(other)
        world.stays_out(other)
        world.until_link("paper", "BLIND")
    world.until_state(plan_id, "open")
    assert len(world.entries(other)) == 1
    assert world.is_covered(held)


@acts.row(6)
def row_06_nothing_is_sent_between_1100_and_the_reconcile_after_1102(world: World) -> None:
    lost_and_restored(world, 1102)


@acts.row(7)
def row_07_nothing_is_sent_between_1100_and_the_reconcile_after_1101(world: World) -> None:
    lost_and_restored(world, 1101)


@acts.row(8)
def row_08_1100_said_500_times_is_one_transition_and_one_alert(world: World) -> None:
    held, other = world.symbol(), world.symbol()
    world.open(held)
    since_ns = mono_ns()
    with world.blind("paper", lambda: world.notice(1102)):
        world.notice(1100, repeats=500)
        plan_id = world.add(other)
        world.stays_out(other)
        world.until_link("paper", "BLIND")
    world.until_state(plan_id, "open")
    assert len(world.alerts("link_blind", since_ns=since_ns)) == 1


@acts.row(9)
def row_09_a_stop_that_fills_while_blind_is_booked_once(world: World) -> None:
    for pushes in ("lost", "wait", "pass"):
        symbol = world.symbol()
        plan_id = world.open(symbol, stop={"percent": 2})
        with world.blind("paper", lambda: world.clear("gateway.link_loss")):
            world.fault("gateway.link_loss", account="paper", pushes=pushes)
            world.until_link("paper", "BLIND")
            world.gap(symbol, -5)
            eventually(lambda at=symbol: world.held(at) == 0, "the stop filled")
        world.until_state(plan_id, "closed")
        assert sum(fills(world, symbol)) == 80, pushes


@acts.row(10)
def row_10_2104_does_not_end_what_1100_began(world: World) -> None:
    symbol = world.symbol()
    with world.blind("paper", lambda: world.notice(1102)):
        world.notice(1100)
        world.notice(2104)
        plan_id = world.add(symbol)
        world.stays_out(symbol)
        world.until_link("paper", "BLIND")
    world.until_state(plan_id, "open")


# --- prices ---


def starved_until_fed(world: World, symbol: str, plan_id: str) -> None:
    world.until_state(plan_id, "armed")
    world.stays_out(symbol)


@acts.row(11)
def row_11_a_restored_link_without_ticks_enters_nothing(world: World) -> None:
    symbol = world.symbol()
    world.starve(symbol)
    with world.span("spoilt", "", symbol):
        with world.blind("paper", lambda: world.notice(1102, text="restored: ushmds; secdefil.")):
            world.notice(1100)
            world.until_link("paper", "BLIND")
        plan_id = world.add(symbol)
        starved_until_fed(world, symbol, plan_id)
    world.feed(symbol)
    world.until_state(plan_id, "open")


@acts.row(12)
def row_12_a_data_farm_that_blinks_stops_no_order(world: World) -> None:
    before, after = world.symbol(), world.symbol()
    world.notice(2103)
    first = world.add(before)
    world.until_state(first, "open")
    world.notice(2104)
    second = world.add(after)
    world.until_state(second, "open")
    world.leave(first)


@acts.row(13)
def row_13_data_that_another_session_took_are_stale_until_they_are_back(world: World) -> None:
    symbol = world.symbol()
    world.starve(symbol)
    with world.span("spoilt", "", symbol):
        world.fault("gateway.competing_session", account="paper")
        world.fault("gateway.competing_session", account="live")
        plan_id = world.add(symbol)
        starved_until_fed(world, symbol, plan_id)
    world.clear("gateway.competing_session")
    world.feed(symbol)
    world.until_state(plan_id, "open")


@acts.row(14)
def row_14_delayed_prices_enter_nothing(world: World) -> None:
    symbol = world.symbol()
    faults = {name: {} for name in DELAYING} | {"finnhub.stale_time": {"age_s": 900.0}}
    for name, arguments in faults.items():
        world.fault(name, symbol=symbol, **arguments)
    with world.span("spoilt", "", symbol):
        plan_id = world.add(symbol)
        starved_until_fed(world, symbol, plan_id)
    for name in faults:
        world.clear(name)
    world.until_state(plan_id, "open")


# --- the gateway's day and its ids ---


@acts.row(15, own=True, speed=40, config=WINDOW)
def row_15_the_gate_is_closed_before_the_nightly_window(world: World) -> None:
    held, left, waits = (world.symbol() for _ in range(3))
    world.open(held)
    leaving = world.open(left)
    world.until_link("paper", "WINDOW", deadline_s=180)
    plan_id = world.add(waits)
    world.stays_out(waits)
    world.leave(leaving)
    world.reconnected(lambda: world.fault("gateway.nightly_restart", account="paper", down_s=2.0))
    world.stays_out(waits)
    world.until_link("paper", "CLEAN", deadline_s=180)
    world.until_state(plan_id, "open")
    assert len(world.entries(waits)) == 1
    caught = world.symbol()
    with world.span("away", "paper"):
        world.fault("gateway.nightly_restart", account="paper", down_s=2.0, on="order")
        second = world.add(caught)
        world.until_state(second, "open", "cancelled", "refused")
        world.until_entries()
    assert len(world.entries(caught)) <= 1
    if world.plan(second)["state"] == "open":
        world.until_covered(caught, 40)


def ids_of(world: World, symbol: str) -> list[int]:
    return [row["order_id"] for row in world.placed(symbol)]


@acts.row(16)
def row_16_an_id_that_rolled_back_is_not_used_again(world: World) -> None:
    first, second = world.symbol(), world.symbol()
    world.open(first)
    highest = max(row["order_id"] for row in world.ledger("order_placed", **PAPER))
    since_ns = mono_ns()
    world.fault("gateway.id_rollback", **PAPER, by=4)
    world.reconnected(lambda: world.fault("gateway.disconnect", **PAPER))
    world.open(second)
    assert min(ids_of(world, second)) > highest
    assert 103 not in world.codes(since_ns=since_ns)


@acts.row(17)
def row_17_an_id_that_jumped_is_followed(world: World) -> None:
    symbol = world.symbol()
    since_ns = mono_ns()
    world.fault("gateway.id_jump", **PAPER, by=1000)
    world.reconnected(lambda: world.fault("gateway.disconnect", **PAPER))
    world.clear("gateway.id_jump")
    world.open(symbol)
    assert 103 not in world.codes(since_ns=since_ns)
    assert max(ids_of(world, symbol)) < IMPLAUSIBLE_ID


@acts.row(18, own=True)
def row_18_a_taken_client_id_halts_and_no_other_is_tried(world: World) -> None:
    held, other = world.symbol(), world.symbol()
    world.open(held)
    with world.span("away", "paper"):
        since_ns = mono_ns()
        with world.span("blind", "paper"):
            world.fault("gateway.client_id_taken", account="paper")
            world.fault("gateway.disconnect", **PAPER)
            world.until_told("link_halted", since_ns=since_ns)
            plan_id = world.add(other)
            world.open(world.symbol(), "live")
            world.stays_out(other)
        world.clear("gateway.client_id_taken")
        pid = world.engine_pid()
        world.kill_engine()
        world.until_new_engine(pid)
    world.until_state(plan_id, "open")
    assert world.is_covered(held)
    clients = {row["client_id"] for row in world.ledger("message", account="paper")}
    assert clients == {11}


# --- kills ---


@acts.row(19)
def row_19_an_order_whose_ack_was_lost_with_the_engine_is_taken_over(world: World) -> None:
    symbol = world.symbol()
    world.fault("gateway.delay_ack", **PAPER, delay_s=30.0, count=1)
    pid = world.engine_pid()
    plan_id = world.add(symbol)
    eventually(lambda: world.placed(symbol), "the order stands at the exchange")
    with world.span("away"):
        world.kill_engine()
        world.until_new_engine(pid)
    world.until_state(plan_id, "open")
    world.until_covered(symbol, 40)
    assert len(world.entries(symbol)) == 1
    assert len(refs(world, plan_id, "entry")) == 1


@acts.row(20)
def row_20_a_recorded_order_that_never_left_is_proved_absent(world: World) -> None:
    symbol = world.symbol()
    pid = world.engine_pid()
    world.starve(symbol)
    plan_id = world.add(symbol)
    world.until_state(plan_id, "armed")
    with world.span("away"):
        world.fault("gateway.half_open", account="paper")  # it shows after two heartbeats
        world.feed(symbol)
        ref = eventually(lambda: refs(world, plan_id, "entry"), "an intent")[0]
        world.kill_engine()
        world.clear("gateway.half_open")
        world.until_new_engine(pid)
    eventually(lambda: moves(world, ref)[-1:] or None, "news of the order")
    eventually(lambda: moves(world, ref)[-1]["state"] == "never_sent", "its absence is proved")
    assert "two complete reads" in moves(world, ref)[-1]["cause"]
    assert ref not in {row["ticket"]["order_ref"] for row in world.placed(symbol)}
    world.until_state(plan_id, "open", "cancelled", "refused")
    assert len(world.entries(symbol)) <= 1


@acts.row(21)
def row_21_a_parent_without_its_child_is_not_transmitted(world: World) -> None:
    symbol = world.symbol()
    pid = world.engine_pid()
    world.fault("gateway.close_after_order", **PAPER, lost=True, skip=1, count=1)
    with world.span("away"):
        plan_id = world.add(symbol)
        eventually(lambda: world.is_spent("gateway.close_after_order"), "the child was lost")
        ref = refs(world, plan_id, "entry")[0]
        assert heard(world, ref), "the parent is at the gateway"
        world.kill_engine()
        world.until_new_engine(pid)
    eventually(lambda: [m["state"] for m in moves(world, ref)][-1:] == ["never_sent"], "absent")
    assert ref not in {row["ticket"]["order_ref"] for row in world.placed(symbol)}
    world.until_state(plan_id, "open", "cancelled", "refused")
    assert len(world.entries(symbol)) <= 1


def heard(world: World, ref: str) -> bool:
    """Say whether the gateway has read an order's bytes, placed or not."""
    rows = world.ledger("message", **PAPER)
    return any(ref.encode() in bytes.fromhex(row["payload"]) for row in rows)


@acts.row(22, own=True)
def row_22_kills_at_any_instant_lose_and_double_nothing(world: World) -> dict[str, Any]:
    choose = random.Random(22)
    symbols = [world.symbol() for _ in range(KILLS // 2)]
    pairs = [(symbol, account) for symbol in symbols for account in ("paper", "live")]
    plans: list[tuple[str, str]] = []
    for symbol, account in pairs:
        pid = world.engine_pid()
        plans.append((world.add(symbol, account, **LIFE), account))
        nudge = threading.Timer(
            choose.uniform(0, 2), world.gap, (symbol, choose.choice((-1, 1, 2)))
        )
        nudge.start()
        time.sleep(choose.uniform(0, 3))
        with world.span("away"):
            world.kill_engine()
            nudge.join()
            world.until_new_engine(pid)
    for plan_id, account in plans:
        if world.plan(plan_id)["state"] not in ("closed", "cancelled", "refused"):
            world.leave(plan_id, account)
    entered = [row for row in world.ledger("order_placed") if row["parent_perm_id"] == 0]
    return {"kills": KILLS, "orders": len(entered), "fills": len(world.ledger("execution"))}


# --- two of them ---


@acts.row(23)
def row_23_a_second_engine_on_the_same_database_sends_nothing(world: World) -> None:
    held = world.symbol()
    world.open(held)
    again = world.box.command("run", "--no-tui", "--json")
    assert again.returncode != 0, "one engine per home"
    with bench() as other:
        second = other.run(TRADEBOX_POSTGRES_URL=world.box.dsn(Login.POSTGRES))
        assert second.wait() == ExitCode.STORE
        ledger = other.home / "sim" / "ledger.jsonl"
        assert not ledger.exists() or '"message"' not in ledger.read_text()
    symbol = world.symbol()
    world.open(symbol)
    pid = world.engine_pid()
    with world.span("away"):  # what the first one needs to come back is still as it was
        world.kill_engine()
        world.until_new_engine(pid)


@acts.row(24, own=True)
def row_24_an_engine_without_its_claim_enters_nothing(world: World) -> None:
    held, waits = world.symbol(), world.symbol()
    leaving = world.open(held)
    with LockTaken(world, f"tradebox engine {owner_of(world.box.home)}"):
        with world.span("spoilt", "", waits):
            plan_id = world.add(waits)
            world.stays_out(waits, seconds=3)
        world.leave(leaving)
    world.until_state(plan_id, "open")
    with started({}) as other:
        other.open(other.symbol())
        with LockTaken(other, "tradebox engine of somebody else"):
            other.add(other.symbol())
            assert other.run.wait() == ExitCode.STORE
        assert len({row["ticket"]["symbol"] for row in other.ledger("order_placed")}) == 1


class LockTaken:
    """End the session that holds the claim, and hold it in its place under a name."""

    def __init__(self, world: World, name: str) -> None:
        self._dsn = world.box.dsn(Login.POSTGRES)
        self._name = name
        self._is_taken, self._is_over = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=lambda: in_thread(self._hold()))

    async def _hold(self) -> None:
        with contextlib.suppress(StoreUnavailable):  # a run that ends takes its server along
            async with connected(self._dsn) as connection, connected(self._dsn) as other:
                await connection.execute(f"SET application_name = '{self._name}'")
                taking = asyncio.ensure_future(connection.execute(TAKE_LOCK, LOCK_KEY))
                await asyncio.sleep(0.2)
                await other.execute(END_HOLDER, LOCK_KEY)
                await taking
                self._is_taken.set()
                await asyncio.to_thread(self._is_over.wait)
        self._is_taken.set()

    def __enter__(self) -> None:
        self._thread.start()
        assert self._is_taken.wait(30), "the claim's lock was not to be had"

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._thread.join(30)


# --- what the gateway says of orders and executions ---


def lived(world: World, symbol: str, *faults: str, **arguments: Any) -> None:
    """A whole life under faults of how things are said: entry, break-even, slice, exit."""
    for name in faults:
        world.fault(name, **PAPER, **arguments)
    plan_id = world.open(symbol, **LIFE)
    world.gap(symbol, 1.5)
    eventually(lambda: refs(world, plan_id, "slice"), "a slice")
    eventually(lambda: 0 < world.held(symbol) < 40 and world.is_covered(symbol), "half is covered")
    world.leave(plan_id)
    for name in faults:
        world.clear(name)
    assert world.held(symbol) == 0
    assert sum(fills(world, symbol)) == 80


@acts.row(25)
def row_25_statuses_repeated_and_reordered_book_each_share_once(world: World) -> None:
    lived(world, world.symbol(), "gateway.duplicate_status", "gateway.reorder_status")


@acts.row(26)
def row_26_an_execution_under_an_unknown_id_is_booked_by_its_reference(world: World) -> None:
    lived(world, world.symbol(), "gateway.unknown_order_id", "gateway.status_before_fill")


@acts.row(27)
def row_27_executions_replayed_at_three_reconnects_are_booked_once(world: World) -> None:
    symbol = world.symbol()
    world.open(symbol)
    booked = fills(world, symbol)
    for _ in range(3):
        world.fault("gateway.replay_executions", account="paper")
        world.reconnected(lambda: world.fault("gateway.disconnect", **PAPER))
    assert fills(world, symbol) == booked
    assert sum(booked) == 40


def goes_on(world: World, plan_id: str, symbol: str, quantity: int) -> None:
    """See that a plan goes on with what it holds, also once books and broker were compared."""
    world.until_entries()
    until_s = time.monotonic() + 1.5
    while time.monotonic() < until_s:
        assert world.plan(plan_id)["state"] == "open"
        assert (world.held(symbol), world.is_covered(symbol)) == (quantity, True)
        time.sleep(0.1)


@acts.row(28)
def row_28_a_correction_replaces_and_the_stop_follows(world: World) -> None:
    symbol = world.symbol()
    plan_id = world.open(symbol)
    row = last_execution(world, symbol)
    since_ns = mono_ns()
    world.fault("gateway.correct_execution", account="paper", order_id=row["order_id"],
                shares=row["shares"] - 1)  # fmt: skip
    world.until_covered(symbol, 39)
    eventually(lambda: sum(fills(world, symbol)) == 39, "the books follow")
    world.until_told("execution_corrected", since_ns=since_ns)
    goes_on(world, plan_id, symbol, 39)


@acts.row(29)
def row_29_a_bust_is_reversed_and_the_stop_follows(world: World) -> None:
    symbol = world.symbol()
    world.fault("gateway.partial_fills", **PAPER, sizes="15,25", count=1)
    plan_id = world.open(symbol)
    world.until_covered(symbol, 40)  # it may be open, and covered, with its first part
    row = last_execution(world, symbol)
    assert row["shares"] < 40
    since_ns = mono_ns()
    world.fault("gateway.bust_execution", account="paper", order_id=row["order_id"])
    world.until_covered(symbol, 40 - row["shares"])
    eventually(lambda: sum(fills(world, symbol)) == 40 - row["shares"], "the books follow")
    world.until_told("execution_corrected", since_ns=since_ns)
    goes_on(world, plan_id, symbol, 40 - row["shares"])

    sold, since_ns = world.symbol(), mono_ns()
    plan_id = world.open(sold, steps=[{"at": {"r": "0.05"}, "take": {"fraction": "0.5"}}])
    world.gap(sold, 2)
    eventually(lambda: last_execution(world, sold)["side"] == "SELL", "a slice")
    world.until_covered(sold, 20)
    take_back(world, sold)
    world.until_covered(sold, 40)
    goes_on(world, plan_id, sold, 40)
    world.leave(plan_id)
    before = len(executed(world, sold))
    take_back(world, sold)  # of the exit: it is held again, covered, and leaves once more
    eventually(lambda: len(executed(world, sold)) > before, "another exit")
    eventually(lambda: world.held(sold) == 0, "flat again")
    world.until_state(plan_id, "closed")
    eventually(
        lambda: len(world.alerts("execution_corrected", since_ns=since_ns)) >= 2, "both are told"
    )


@acts.row(30)
def row_30_partial_fills_are_covered_exactly_or_repaired(world: World) -> dict[str, Any]:
    whole, thin = world.symbol(), world.symbol()
    world.fault("gateway.partial_fills", **PAPER, sizes="1,7,92", count=1)
    world.open(whole, size={"quantity": 100})
    assert [row["shares"] for row in executed(world, whole)][:2] == [1, 7]
    world.until_covered(whole, 100)
    price = world.price(thin)
    quantity = int(700_000 / price)
    entry = {"type": "limit", "price": round(price * 1.0005, 2), "valid_until": 300}
    plan_id = world.add(thin, size={"quantity": quantity}, entry=entry)
    eventually(lambda: executed(world, thin), "a part is filled")
    world.gap(thin, 2)  # the rest stays where no seller goes
    world.until_state(plan_id, "open")

    def is_over() -> bool:
        (order,) = [one for one in world.orders(plan_id) if one["role"] == "entry"]
        return order["state"] in OVER_STATES and world.is_covered(thin)

    eventually(is_over, "the entry is over and covered")
    held = world.held(thin)
    assert 0 < held < quantity, "the rest was cancelled"
    return {"asked": quantity, "held": held}


@acts.row(31)
def row_31_a_cancel_that_meets_the_fill_sells_nothing_twice(world: World) -> None:
    symbol = world.symbol()
    plan_id = world.open(symbol)
    world.fault("gateway.cancel_race", **PAPER, count=1)
    world.leave(plan_id)
    assert world.held(symbol) == 0
    assert refs(world, plan_id, "exit") == [], "the stop sold it all"
    (stop,) = [row for row in world.orders(plan_id) if row["role"] == "stop"]
    cancels = [payload_of(row) for row in world.ledger("message", **PAPER, message_id=4)]
    assert str(stop["order_id"]) in [fields[2] for fields in cancels], "it was to be cancelled"
    assert stop["state"] == "filled"


@acts.row(32)
def row_32_a_refused_modify_leaves_the_stop_as_it_was(world: World) -> None:
    for code in (110, 201, 2102):
        symbol = world.symbol()
        plan_id = world.open(symbol, **{**LIFE, "steps": LIFE["steps"][:1]})
        (stop,) = refs(world, plan_id, "stop")
        level = world.clerk.rows(
            "SELECT stop_price FROM trade.broker_order WHERE order_ref = $1", stop
        )[0]["stop_price"]
        world.fault("gateway.refuse_modify", **PAPER, code=code, count=1)
        world.gap(symbol, 1.5)

        def has_moved(at: str = symbol, old: float = float(level)) -> bool:
            stops = world.stops(at)
            return len(stops) == 1 and float(stops[0]["trigger"]) > old

        eventually(has_moved, "the stop stands higher")
        assert world.is_spent("gateway.refuse_modify"), code
        prices = {move["stop_price"] for move in moves(world, stop)}
        assert prices <= {None, str(level)} or {float(p) for p in prices if p} == {float(level)}
        assert world.clerk.rows(
            "SELECT 1 FROM trade.event WHERE kind = 'broker_code' AND order_ref = $1", stop
        )
        world.leave(plan_id)


@pytest.mark.parametrize("number", acts.quick())
def test_quick_row(number: int, runs: Runs) -> None:
    acts.play(number, runs)


@pytest.mark.slow
@pytest.mark.parametrize("number", acts.numbers())
def test_row(number: int, runs: Runs) -> None:
    acts.play(number, runs)
