"""The fault matrix, rows 57 to 64: floods, what people do, a reconcile that dies, a halt.

Rules of this file:
- a row sets its fault on a real run, sees what must happen from outside, and leaves; the judge
  then looks at everything that ever happened in that run;
- what is asserted here is what the row is about; the invariants are the judge's.
"""

import asyncio
import contextlib
import os
import signal
import time

import asyncpg
import pytest
from redis import Redis
from redis.exceptions import NoPermissionError

from chaos.matrix.acts import Acts, Runs
from chaos.matrix.harm import is_set, quality_of, ready_line
from chaos.matrix.harness import FINAL, World, entered_once, mono_ns
from support.official import OfficialClient
from support.run_bench import eventually
from tradebox.adapters.embedded.addresses import REDIS_FOLDER, redis_url
from tradebox.adapters.embedded.secrets import Login
from tradebox.config import Home, Settings

pytestmark = [pytest.mark.xdist_group("matrix"), pytest.mark.timeout(400)]

acts = Acts()
HALT_SAID = """
SELECT 1 FROM trade.event
WHERE kind = 'broker_code' AND plan_id = $1 AND data ->> 'code' = '154'
"""
FLOOD = 1_000
FLOODED_S_MAX = 120.0
INTENTS = """
SELECT extract(epoch FROM recorded_at)::float8 AS at_s FROM trade.denial WHERE plan_id = ANY($1)
UNION ALL
SELECT extract(epoch FROM created_at)::float8 FROM trade.broker_order
WHERE plan_id = ANY($1) AND role = 'entry'
ORDER BY at_s
"""
REFUSED_BY = """
SELECT check_name, max(observed) AS observed, count(*) AS n FROM trade.denial
WHERE plan_id = ANY($1) GROUP BY check_name
"""
WAITING = "SELECT count(*) AS n FROM trade.plan WHERE plan_id = ANY($1) AND state = ANY($2)"
BULK = 600
BULK_CLIENTS = range(101, 107)


def worst(times: list, length: float) -> int:
    """Return how many of these times lie within one stretch of that length."""
    return max((sum(0 <= at - first < length for at in times) for first in times), default=0)


@acts.row(57)
def row_57_a_burst_that_was_refused_is_unknown_until_it_is_looked_up(world: World) -> None:
    symbol = world.symbol()
    world.fault("gateway.pacing", account="paper", client_id=11, count=3)
    plan_id = world.add(symbol)
    eventually(lambda: not is_set(world, "gateway.pacing"), "three messages were dropped")
    world.reconnected(lambda: world.fault("gateway.disconnect", account="paper", client_id=11))
    world.until_state(plan_id, "open", "refused", "cancelled")
    assert len(world.entries(symbol)) <= 1
    other = world.symbol()
    entered_once(world, other, world.add(other))
    if world.held(symbol):
        world.leave(plan_id)


@acts.row(58)
def row_58_an_exit_does_not_wait_behind_bulk_requests(world: World) -> dict:
    symbol = world.symbol()
    plan_id = world.open(symbol)
    host, _, port = ready_line(world)["gateway_paper"].rpartition(":")
    with contextlib.ExitStack() as stack:
        clients = [
            stack.enter_context(OfficialClient((host, int(port)), number))
            for number in BULK_CLIENTS
        ]
        for number in range(BULK):
            clients[number % len(clients)]._client.reqCurrentTime()
        asked_ns = mono_ns()
        world.leave(plan_id)
    later = [row["mono_ns"] for row in world.ledger("message", client_id=11)
             if row["mono_ns"] > asked_ns]  # fmt: skip
    shown = {"ask_to_first_bytes_ms": round((min(later) - asked_ns) / 1e6, 1)}
    assert world.held(symbol) == 0
    return shown


@acts.row(
    59,
    own=True,
    PAPER_LIMITS_ORDERS_PER_S_MAX="5",
    PAPER_LIMITS_ORDERS_PER_MIN_MAX="10",
    PAPER_LIMITS_RATE_LATCH_MAX="10",
)
def row_59_a_flood_of_intents_meets_the_buckets_and_the_latch(world: World) -> dict:
    held = world.symbol()
    plan_id = world.open(held)
    symbols = [world.symbol() for _ in range(world.symbols_left)]
    for symbol in symbols:
        world.starve(symbol)
    size = {"size": {"quantity": 1}}
    plans = [world.add(symbols[n % len(symbols)], **size) for n in range(FLOOD)]

    def waiting(*states: str) -> int:
        return int(world.clerk.rows(WAITING, plans, list(states))[0]["n"])

    eventually(lambda: waiting("armed") == FLOOD, "all are armed", FLOODED_S_MAX)
    at_ns = mono_ns()
    world.feed("")
    try:
        # An armed plan whose day's volume is not read yet asks again: a busy box reads late.
        world.until_told("kill_latch", since_ns=at_ns, deadline_s=FLOODED_S_MAX)
    except AssertionError as error:
        seen = [dict(row) for row in world.clerk.rows(REFUSED_BY, plans)]
        raise AssertionError(f"{waiting('armed')} wait; the others were refused: {seen}") from error
    eventually(lambda: waiting("requested", "armed") == 0, "every one has asked", FLOODED_S_MAX)
    time.sleep(3)  # no entry leaves any more
    sent = [row["mono_ns"] for row in world.ledger("message", account="paper", message_id=3)]
    world.leave(plan_id)
    in_a_second = worst(sent, 10**9)
    assert in_a_second <= 12, "a bucket of five a second, twice at most across its edge; exits"
    asked = [row["at_s"] for row in world.clerk.rows(INTENTS, plans)]
    assert len(asked) >= FLOOD, "each was denied or sent"
    for one in plans:
        if world.plan(one)["state"] not in FINAL:
            world.leave(one)
    assert world.clerk.command("paper", "resume").get("done")
    return {
        "intents": len(asked),
        "intents_in_the_worst_second": worst(asked, 1.0),
        "messages_in_the_worst_second": in_a_second,
    }


@acts.row(60)
def row_60_the_console_s_logins_can_place_and_ask_nothing(world: World) -> None:
    before = len(world.ledger("message"))
    folder = world.box.socket_dir / REDIS_FOLDER
    url = redis_url(Home(world.box.home), Settings(), Login.REDIS_CONSOLE, folder)

    async def write(statement: str) -> None:
        connection = await asyncpg.connect(world.box.dsn(Login.CONSOLE))
        try:
            await connection.execute(statement)
        finally:
            await connection.close()

    for statement in (
        "INSERT INTO trade.command (account, kind, deadline_at) VALUES ('live', 'flatten', now())",
        "INSERT INTO trade.switch (name, value) VALUES ('kill', 'off')",
        "UPDATE trade.plan SET state = 'open'",
        "SELECT * FROM trade.broker_order",
        "DELETE FROM console.plan",
    ):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            asyncio.run(write(statement))
    with contextlib.closing(Redis.from_url(url)) as client:
        for command in (("FLUSHALL",), ("SET", "md:AAPL", "1"), ("PUBLISH", "md", "x")):
            with pytest.raises(NoPermissionError):
                client.execute_command(*command)
    assert len(world.ledger("message")) == before


@acts.row(61)
def row_61_a_gateway_that_waits_for_its_login_is_told_and_stops_rest(world: World) -> None:
    symbol, other, at_ns = world.symbol(), world.symbol(), mono_ns()
    plan_id = world.open(symbol)
    late = ""

    def lift() -> None:
        world.clear("gateway.mute_handshake")

    world.fault("gateway.mute_handshake", account="paper", client_id=-1)
    with world.blind("paper", lift):
        world.fault("gateway.disconnect", account="paper")
        world.until_link("paper", "DOWN")
        late = world.add(other)
        world.until_told("gateway_away", since_ns=at_ns)
        assert world.is_covered(symbol)
        world.stays_out(other)
        live = world.open(other, "live")
    entered_once(world, other, late)
    world.leave(live, "live")
    world.leave(plan_id)


@acts.row(62)
def row_62_two_gateways_of_one_user_in_turns_double_nothing(world: World) -> None:
    symbols = [world.symbol() for _ in range(3)]
    plans = []
    for symbol in symbols:
        world.fault("gateway.competing_session", account="paper")
        with world.blind("paper", lambda: world.clear("gateway.link_loss")):
            world.fault("gateway.link_loss", account="paper")
            world.until_link("paper", "BLIND")
            plans.append(world.add(symbol))
        world.clear("gateway.competing_session")
        world.reconnected(lambda: world.fault("gateway.disconnect", account="paper"))
    for symbol, plan_id in zip(symbols, plans, strict=True):
        entered_once(world, symbol, plan_id)


@acts.row(63)
def row_63_a_reconcile_that_dies_half_way_is_run_again(world: World) -> None:
    symbol, other = world.symbol(), world.symbol()
    plan_id = world.open(symbol)
    late = ""
    with world.span("away"):
        world.fault("gateway.mute_request", account="paper", client_id=11, message_id=61)
        for _ in range(2):
            engine = world.engine_pid()
            os.kill(engine, signal.SIGKILL)
            eventually(lambda pid=engine: world.box.status().get("pid") not in (None, pid), "anew")
            world.until_link("paper", "SYNCING")
            late = late or world.add(other)
            world.stays_out(other)
        world.clear("gateway.mute_request")
        world.until_clean()
    entered_once(world, other, late)
    world.leave(plan_id)


@acts.row(64)
def row_64_a_halt_keeps_the_stop_and_the_exit_goes_on_resume(world: World) -> None:
    symbol, at_ns = world.symbol(), mono_ns()
    plan_id = world.open(symbol)
    (stop,) = world.stops(symbol)
    world.fault("market.halt", symbol=symbol)
    eventually(lambda: quality_of(world, symbol) == "halt", "the broker's prices say so")
    world.clerk.command("paper", "exit", plan_id=plan_id)
    told = world.until_told("reduction_refused", since_ns=at_ns)
    assert any("halt" in row["text"] for row in told)
    until_s = time.monotonic() + 4  # it would like to leave
    while time.monotonic() < until_s:
        assert world.stops(symbol) == [stop]
        time.sleep(0.2)
    world.fault("market.resume", symbol=symbol)
    world.until_state(plan_id, "closed")
    assert world.held(symbol) == 0

    once = world.symbol()
    plan_id = world.open(once)
    world.fault(
        "gateway.refuse_order", account="paper", code=154, text="halted", count=1
    )  # the first that tells of this halt is the refusal of the exit
    world.clerk.command("paper", "exit", plan_id=plan_id)
    eventually(lambda: world.clerk.rows(HALT_SAID, plan_id), "the broker says 154")
    world.until_state(plan_id, "closed")
    assert world.held(once) == 0

    unheard, at_ns = world.symbol(), mono_ns()
    plan_id = world.open(unheard)
    world.fault("gateway.freeze_market_data", symbol=unheard)
    world.fault("market.halt", symbol=unheard)  # no order is taken, also no stop
    world.clerk.command("paper", "exit", plan_id=plan_id)
    eventually(lambda: world.clerk.rows(HALT_SAID, plan_id), "the broker says 154")
    eventually(lambda: len(world.clerk.rows(HALT_SAID, plan_id)) > 2, "the stop is asked for")
    if not world.stops(unheard):
        world.until_told("uncovered", since_ns=at_ns)
    world.fault("market.resume", symbol=unheard)
    world.clear("gateway.freeze_market_data")
    eventually(lambda: world.is_covered(unheard), "flat, or its stop again")
    world.until_state(plan_id, "closed")
    assert world.held(unheard) == 0


@pytest.mark.parametrize("number", acts.quick())
def test_quick_row(number: int, runs: Runs) -> None:
    acts.play(number, runs)


@pytest.mark.slow
@pytest.mark.parametrize("number", acts.numbers())
def test_row(number: int, runs: Runs) -> None:
    acts.play(number, runs)
