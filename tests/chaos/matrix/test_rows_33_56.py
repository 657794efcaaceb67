"""The fault matrix, rows 33 to 56: stops, others' acts, configuration, prices, stores, processes.

Rules of this file:
- a row sets its fault on a real run, sees what must happen from outside, and leaves; the judge
  then looks at everything that ever happened in that run;
- what is asserted here is what the row is about; the invariants are the judge's.
"""

import os
import resource
import signal
import time
from pathlib import Path

import pytest

from chaos.matrix.acts import Acts, Runs
from chaos.matrix.harm import (
    actor,
    ask_engine,
    commits_held,
    commits_unanswered,
    flush_redis,
    harm,
    hits,
    is_set,
    logged,
    postgres_away,
    quality_of,
    read_only,
    ready_line,
    wall_s,
)
from chaos.matrix.harness import FINAL, STARVING, World, entered_once, mono_ns
from support.run_bench import bench, eventually

pytestmark = [pytest.mark.xdist_group("matrix"), pytest.mark.timeout(400)]

acts = Acts()
MOVED = {
    "stop": {"percent": 20},
    "steps": [{"at": {"r": "0.05"}, "move_stop": {"to": "break_even"}}],
}
"""A plan whose stop moves once the price is 1 % above its entry."""
MOVE_PERCENT = 2.0
STOPPED_PERCENT = -24.0
ADOPTED = {"side": "long", "entry": {"type": "market"}, "stop": {"percent": 10}}
MISMATCH = "SELECT text FROM trade.alert WHERE kind = 'account_mismatch'"
FLAGS = """
SELECT coalesce(sum(ticks), 0)::bigint AS ticks FROM trade.tick_verdict
WHERE symbol = $1 AND verdict = 'flag' AND check_name = 'frozen'
"""
OF_SYMBOL = """
SELECT count(*) AS n FROM trade.plan WHERE symbol = $1 AND state = ANY ($2::text[])
"""
PEERS = 4
"""Symbols that move beside one that stands still."""
COUNTED_S_MAX = 150.0
"""What passed with a flag is counted in memory and kept once a minute."""
HOARD = 500
HOARD_S = 30.0
NO_MEMORY = ("MemoryError", "memory allocation of")
"""What the interpreter says, and what a library that is no Python does."""
GREEDY = {
    "size": {"quantity": 1},
    "stop": {"price": 1_000_000},  # beyond every price: the first one ends it
    "steps": [{"at": {"r": f"{n}"}, "move_stop": {"to": "break_even"}} for n in range(1, 10)],
}
THROTTLED_S = 10.0
FAST = 200
"""Market seconds per second, where a night has to pass."""
NIGHT_S_MAX = 240.0


def excuse(world: World, *rules: str) -> None:
    """Leave out what the fault itself breaks: an invariant, or one of a subject."""
    world._refused |= set(rules)


def stop_moves(world: World, symbol: str) -> list[dict]:
    """Return every change of our orders in a symbol."""
    rows = world.ledger("order_modified", account="paper")
    return [row for row in rows if row["ticket"]["symbol"] == symbol]


def throttled(world: World) -> dict[str, int]:
    """Return how often the vendor said 429 to a request, and refused a stream."""
    return {name: hits(world, f"finnhub.{name}") for name in ("rate_limit", "refuse_stream")}


def flags(world: World, symbol: str) -> int:
    """Return how many prices of a symbol passed as frozen."""
    return int(world.clerk.rows(FLAGS, symbol)[0]["ticks"])


def taken_up(world: World, symbol: str, *states: str) -> None:
    """Wait until no plan of a symbol is in one of these states any more."""
    eventually(
        lambda: world.clerk.rows(OF_SYMBOL, symbol, list(states))[0]["n"] == 0,
        f"none is {states}",
        COUNTED_S_MAX,
    )


def starved(world: World, **document: object) -> tuple[str, str]:
    """Return a symbol without prices and a plan that is armed in it."""
    symbol = world.symbol()
    world.starve(symbol)
    plan_id = world.add(symbol, **document)
    world.until_state(plan_id, "armed")
    return symbol, plan_id


# --- stops and orders at the gateway ---


@acts.row(33, own=True)
def row_33_a_modify_forks_the_order(world: World) -> None:
    symbol = world.symbol()
    plan_id = world.open(symbol, **MOVED)
    (first,) = world.stops(symbol)
    at_ns = mono_ns()
    world.fault("gateway.fork_modify", account="paper", count=1)
    world.gap(symbol, MOVE_PERCENT)
    world.until_told("forked_order", since_ns=at_ns)
    excuse(world, f"I12:{symbol}")  # two stops of the whole size: the broker made the second
    late = world.add(symbol)
    world.until_denied(late, "quarantine")
    assert {row["order_ref"] for row in world.stops(symbol)} == {first["order_ref"]}
    world.clerk.command("paper", "exit", plan_id=late)
    world.until_entries()
    two = world.stops(symbol)
    assert len(two) == 2, "a copy is nobody's to cancel but a person's"
    placed = len(world.placed(symbol))
    newer = max(row["perm_id"] for row in two)
    world.fault("gateway.cancel_by_broker", account="paper", perm_id=newer)
    world.until_covered(symbol, 40)
    world.until_entries()
    assert world.is_covered(symbol), "the end of one copy is not the end of the other"
    assert len(world.placed(symbol)) == placed, "and no stop is placed beside it"
    world.leave(plan_id)
    assert (world.held(symbol), world.stops(symbol)) == (0, [])


@acts.row(34)
def row_34_a_stop_that_the_preset_made_day_is_good_till_cancelled_again(world: World) -> None:
    symbol = world.symbol()
    world.fault("gateway.preset_tif", account="paper", count=2)
    plan_id = world.open(symbol)
    (stop,) = [row["ticket"] for row in world.placed(symbol) if row["ticket"]["parent_id"]]
    assert stop["tif"] == "DAY", "the preset came to bear"

    def tif_of_the_stop() -> str:
        live = {row["perm_id"] for row in world.stops(symbol)}
        rows = world.ledger("order_placed") + world.ledger("order_modified")
        said = [row["ticket"]["tif"] for row in sorted(rows, key=lambda row: row["seq"])
                if row["perm_id"] in live]  # fmt: skip
        return said[-1] if said else ""

    eventually(lambda: tif_of_the_stop() == "GTC", "the stop is GTC")
    world.until_covered(symbol, 40)
    world.leave(plan_id)


@acts.row(35)
def row_35_a_code_nobody_knows_keeps_the_order(world: World) -> None:
    symbol, at_ns = world.symbol(), mono_ns()
    world.fault("gateway.order_code", account="paper", count=1)
    plan_id = world.open(symbol)
    told = world.until_told("broker_code", since_ns=at_ns)
    assert any("10999" in row["text"] for row in told)
    assert len(world.entries(symbol)) == 1
    world.leave(plan_id)


@acts.row(36)
def row_36_a_refused_stop_is_placed_again_and_else_the_position_goes(world: World) -> None:
    again = world.symbol()
    world.fault("gateway.reject_child", account="paper", count=1)
    plan_id = world.add(again)
    world.until_state(plan_id, "open", "closed")
    eventually(lambda: world.is_covered(again), "covered, or flat")
    world.clear("gateway.reject_child")

    hopeless, at_ns = world.symbol(), mono_ns()
    world.fault("gateway.reject_child", account="paper", count=1)
    world.fault("gateway.refuse_order", account="paper", skip=2, count=2)
    second = world.add(hopeless)
    world.until_state(second, "closed")
    assert world.held(hopeless) == 0
    world.until_told("stop_refused", since_ns=at_ns)
    if world.held(again):
        world.leave(plan_id)


@acts.row(37)
def row_37_a_stop_that_the_broker_cancelled_is_placed_again(world: World) -> None:
    symbol = world.symbol()
    plan_id = world.open(symbol)
    (old,) = world.stops(symbol)
    world.fault("gateway.cancel_by_broker", account="paper", order_id=old["order_id"])
    eventually(
        lambda: [r["perm_id"] for r in world.stops(symbol)] != [old["perm_id"]], "it is gone"
    )
    world.until_covered(symbol, 40)
    (new,) = world.stops(symbol)
    assert (new["trigger"], new["order_ref"]) != (old["trigger"], old["order_ref"])
    assert new["trigger"] == old["trigger"]
    world.leave(plan_id)


@acts.row(38, own=True, speed=FAST)
def row_38_a_stop_fired_a_day_ago_while_nobody_was_there(world: World) -> None:
    symbol = world.symbol()
    plan_id = world.open(symbol)
    engine, launcher = world.engine_pid(), world.run.pid
    day = world.sim("/clock")["session"]
    with world.span("away"):
        os.kill(launcher, signal.SIGSTOP)
        try:
            os.kill(engine, signal.SIGKILL)
            world.gap(symbol, STOPPED_PERCENT)
            eventually(lambda: world.held(symbol) == 0, "the stop fired")
            clock = lambda: world.sim("/clock")  # noqa: E731
            eventually(
                lambda: clock()["session"] != day and clock()["is_open"],
                "another session",
                NIGHT_S_MAX,
            )
        finally:
            os.kill(launcher, signal.SIGCONT)
        placed = len(world.placed(symbol))
        world.until_new_engine(engine)
    world.until_told("position_adjusted")
    world.until_state(plan_id, "closed")
    assert len(world.placed(symbol)) == placed, "nothing is sent for what is not held"
    sold = [row for row in world.ledger("execution", symbol=symbol) if row["side"] == "SELL"]
    excuse(world, *(f"I4:{row['exec_id'].rpartition('.')[0]}" for row in sold))


@acts.row(39)
def row_39_a_trade_by_hand_is_left_alone_until_a_person_adopts_it(world: World) -> None:
    symbol, at_ns = world.symbol(), mono_ns()
    world.fault("gateway.manual_order", account="paper", symbol=symbol, side="BUY", quantity=10)
    eventually(lambda: world.held(symbol) == 10, "the trade by hand")
    world.until_entries()
    world.until_told("position_gap", since_ns=at_ns)
    late = world.add(symbol)
    world.until_denied(late, "quarantine")
    assert world.placed(symbol) == []
    world.clerk.command("paper", "exit", plan_id=late)
    document = {**ADOPTED, "symbol": symbol, "size": {"quantity": 10}}

    def adopted() -> dict:
        return world.clerk.command("paper", "adopt", symbol=symbol, document=document)

    answer = eventually(lambda: (a := adopted()).get("done") and a, "the session's hours are known")
    world.until_covered(symbol, 10)
    world.leave(answer["plan_id"])

    ours, at_ns = world.symbol(), mono_ns()
    plan_id = world.open(ours)
    shares = world.held(ours)
    world.fault("gateway.manual_order", account="paper", symbol=ours, side="SELL", quantity=shares)
    world.until_told("position_adjusted", since_ns=at_ns)
    world.until_state(plan_id, "closed")
    eventually(lambda: world.stops(ours) == [], "no stop rests for what is not held")
    assert world.held(ours) == 0


@acts.row(40, own=True, speed=FAST)
def row_40_a_split_over_night_is_told_and_a_person_gives_the_stops_back(world: World) -> None:
    symbol, at_ns = world.symbol(), mono_ns()
    plan_id = world.open(symbol)
    world.fault("market.split", symbol=symbol, numerator=2, denominator=1)
    eventually(lambda: world.held(symbol) == 80, "the split", NIGHT_S_MAX)
    assert world.stops(symbol) == [], "the split took the stop"
    placed = len(world.placed(symbol))
    world.until_told("position_gap", since_ns=at_ns)
    world.until_denied(plan_id, "split")
    eventually(lambda: ask_engine(world, "confirm_level", symbol=symbol), "a person confirms")
    late = world.add(symbol)
    world.until_denied(late, "quarantine")
    assert len(world.placed(symbol)) == placed, "nothing is sent at an old price"
    assert stop_moves(world, symbol) == []
    world.clerk.command("paper", "exit", plan_id=late)
    words = {"symbol": symbol, "document": {**ADOPTED, "symbol": symbol, "size": {"quantity": 80}}}

    def adopted() -> dict:
        return world.clerk.command("paper", "adopt", **words, whole=True)

    answer = eventually(lambda: (a := adopted()).get("done") and a, "all shares have a plan")
    world.until_covered(symbol, 80)
    world.until_state(plan_id, *FINAL)
    assert world.held(symbol) == 80, "nothing is sold for it"
    world.leave(answer["plan_id"])
    assert world.held(symbol) == 0


# --- configuration and the gateway's own settings ---


@acts.row(41)
def row_41_a_paper_controller_at_the_live_gateway_sends_nothing(world: World) -> None:
    ready = ready_line(world)
    host, _, port = ready["gateway_live"].rpartition(":")
    finnhub = world.box.secrets()["finnhub_key"]
    before = len(world.ledger("message"))
    for account in ("DU1234567", ready["accounts"]["paper"], ready["accounts"]["live"]):
        env = {
            "TRADEBOX_PAPER_ACCOUNT": account,
            "TRADEBOX_PAPER_HOST": host,
            "TRADEBOX_PAPER_PORT": port,
            "TRADEBOX_FINNHUB_KEY": finnhub,
            "TRADEBOX_FINNHUB_REST_URL": ready["finnhub"],
            "TRADEBOX_FINNHUB_WS_URL": ready["finnhub_ws"],
        }
        with bench() as other:
            other.run("--profile", "paper", **env).ready()
            eventually(lambda box=other: box.rows(MISMATCH), f"{account} is refused")
    assert len(world.ledger("message")) == before


@acts.row(42)
def row_42_a_read_only_api_is_told_and_the_stop_rests(world: World) -> None:
    symbol, other, at_ns = world.symbol(), world.symbol(), mono_ns()
    plan_id = world.open(symbol)
    world.fault("gateway.read_only", account="paper")
    late = world.add(other)
    world.until_state(late, "refused", "cancelled", "closed")
    assert world.entries(other) == []
    told = world.until_told("broker_code", since_ns=at_ns)
    assert any("321" in row["text"] for row in told)
    assert world.is_covered(symbol)
    world.clear("gateway.read_only")
    world.until_entries()
    world.leave(plan_id)


# --- prices ---


@acts.row(43)
def row_43_absurd_ticks_open_move_and_close_nothing(world: World) -> None:
    symbol = world.symbol()
    plan_id = world.open(symbol, **MOVED)
    empty, late = starved(world)
    with world.span("spoilt", symbol=empty):
        for price in ("0", "-1", "NaN", "Infinity", "1e-9"):
            world.fault("gateway.bad_tick", price=price)
            world.clear("gateway.freeze_market_data")
            world.stays_out(empty, seconds=0.5)
            world.fault("gateway.freeze_market_data", symbol=empty)
            world.clear("gateway.bad_tick")
        world.fault("finnhub.zero_price", symbol=symbol, count=5)
        for percent in (900.0, -90.0):
            world.fault("finnhub.spike", symbol=symbol, percent=percent, count=1)
            eventually(lambda: not is_set(world, "finnhub.spike"), "the spike was said")
            time.sleep(0.5)
        world.stays_out(empty)
    assert stop_moves(world, symbol) == []
    assert world.is_covered(symbol)
    world.clear()
    entered_once(world, empty, late)
    world.leave(plan_id)


@acts.row(44, own=True, FEED_FILTER_FROZEN_S="60")
def row_44_a_price_that_stands_still_while_others_move_opens_nothing(world: World) -> dict:
    symbol = world.symbol()
    peers = [world.open(world.symbol()) for _ in range(PEERS)]
    for name in STARVING:
        if not name.startswith("gateway"):
            world.fault(name, symbol=symbol)
    first = world.open(symbol)  # the broker's own prices are enough, as long as they move
    assert flags(world, symbol) == 0
    world.fault("gateway.repeat_price", symbol=symbol)
    eventually(lambda: flags(world, symbol), "it is seen by value and time", COUNTED_S_MAX)
    with world.span("spoilt", symbol=symbol):
        late = world.add(symbol, "live")
        world.until_state(late, "armed")
        world.stays_out(symbol, "live", seconds=4.0)
        assert quality_of(world, symbol) != "live"
        seen = flags(world, symbol)
    world.clear()
    world.until_state(late, "open")
    world.leave(late, "live")
    for plan_id in (first, *peers):
        world.leave(plan_id)
    return {"prices_flagged_as_frozen": seen}


@acts.row(45)
def row_45_clocks_apart_refuse_entries(world: World) -> None:
    for skew_s in (3600, -3600):
        world.fault("gateway.clock_skew", account="paper", skew_s=skew_s)
        time.sleep(5)  # a heartbeat is two seconds away
        symbol = world.symbol()
        plan_id = world.add(symbol)
        world.until_denied(plan_id, "clock")
        assert world.placed(symbol) == []
        world.clear("gateway.clock_skew")
        entered_once(world, symbol, plan_id)


# --- stores ---


@acts.row(46)
def row_46_without_postgresql_nothing_enters_and_fills_are_kept(world: World) -> None:
    held = world.symbol()
    plan_id = world.open(held)
    symbol, late = starved(world)
    with postgres_away(world):
        world.feed(symbol)
        world.gap(held, STOPPED_PERCENT)
        eventually(lambda: world.held(held) == 0, "the stop fires without us")
        world.stays_out(symbol, seconds=10.0)
    world.until_state(plan_id, "closed")
    entered_once(world, symbol, late)


@acts.row(47)
def row_47_a_slow_commit_ends_before_the_send(world: World) -> None:
    symbol, plan_id = starved(world)
    with commits_held(world):
        world.feed(symbol)
        world.stays_out(symbol, seconds=6.0)
    entered_once(world, symbol, plan_id)


@acts.row(48)
def row_48_what_postgresql_does_not_take_is_not_sent(world: World) -> None:
    held = world.symbol()
    plan_id = world.open(held)
    symbol, late = starved(world)
    with read_only(world):
        world.feed(symbol)
        world.gap(held, STOPPED_PERCENT)
        eventually(lambda: world.held(held) == 0, "the stop fires")
        world.stays_out(symbol, seconds=6.0)
    world.until_state(plan_id, "closed")
    entered_once(world, symbol, late)


@acts.row(49)
def row_49_a_commit_without_an_answer_is_read_again(world: World) -> None:
    symbol, plan_id = starved(world)
    with commits_unanswered(world):
        world.feed(symbol)
        time.sleep(4)  # entries are tried meanwhile
    entered_once(world, symbol, plan_id)
    rows = world.orders(plan_id)
    assert [row["role"] for row in rows if row["state"] != "never_sent"].count("entry") == 1


@acts.row(50)
def row_50_redis_gone_flushed_or_slow_changes_no_decision(world: World) -> None:
    with world.frozen("redis"):
        symbol = world.symbol()
        entered_once(world, symbol, world.add(symbol))
    flush_redis(world)
    symbol = world.symbol()
    plan_id = world.open(symbol)
    os.kill(world.server_pid("redis"), signal.SIGKILL)
    world.leave(plan_id)
    eventually(lambda: world.server_pid("redis"), "Redis is back")


# --- processes ---


@acts.row(51, own=True)
def row_51_an_actor_that_crashes_again_and_again_is_given_up_and_told(world: World) -> None:
    symbol, name = world.symbol(), "trading.paper.controller"
    world.open(symbol)
    with world.span("away", "paper"):
        for _ in range(7):
            harm(world, "crash", name)
            eventually(lambda: actor(world, name).get("state") != "running", "it is down", 5.0)
        world.until_told("restart_intensity")
        assert world.is_covered(symbol)
        world.open(symbol, "live")
        world.until_clean()
        world.until_entries()


@acts.row(52)
def row_52_what_hangs_is_seen_from_outside_and_started_anew(world: World) -> None:
    symbol, name = world.symbol(), "trading.paper.controller"
    plan_id = world.open(symbol)
    with world.span("away"):
        hung = harm(world, "hang", name)
        eventually(lambda: actor(world, name).get("incarnation") not in (None, hung), "another one")
        world.until_entries()
        engine = world.engine_pid()
        harm(world, "busy", "trading.live.controller")
        world.until_new_engine(engine)
    world.leave(plan_id)


@acts.row(53, own=True, may_moan=True)
def row_53_an_engine_at_the_end_of_its_memory_loses_nothing(world: World) -> dict:
    held, symbol, hoard = world.symbol(), world.symbol(), world.symbol()
    engine, resting, hoarded = world.engine_pid(), world.open(held), 0
    process = Path(f"/proc/{engine}")
    world.starve(hoard)
    with world.span("away"):
        size = 4096 * int((process / "statm").read_text().split()[0])
        resource.prlimit(engine, resource.RLIMIT_AS, (size, size))  # what it asks for is refused
        plan_id = world.add(symbol)
        until_s = time.monotonic() + HOARD_S
        while process.exists() and time.monotonic() < until_s:
            if hoarded == HOARD:
                time.sleep(0.1)
                continue
            world.add(hoard, **GREEDY)  # each plan that it takes up wants memory for good
            hoarded += 1
        is_alive = process.exists()
        if is_alive:
            os.kill(engine, signal.SIGKILL)  # what the kernel does at the end of all memory
        assert world.is_covered(held)
        world.until_new_engine(engine)
        taken_up(world, hoard, "requested")  # an exit beside hundreds of them has to wait
    entered_once(world, symbol, plan_id)
    world.leave(resting)
    world.feed(hoard)
    taken_up(world, hoard, "requested", "armed")
    said = world.run.err
    assert not said or any(words in said for words in NO_MEMORY), said[-3000:]
    return {"ended_by_the_limit": not is_alive, "plans_hoarded": hoarded}


# --- vendors ---


@acts.row(54)
def row_54_a_vendor_that_says_429_is_waited_out_and_not_stormed(world: World) -> dict:
    symbol, since_s = world.symbol(), wall_s()
    resting = world.open(symbol)
    for name in STARVING:
        if not name.startswith("finnhub"):
            world.fault(name, symbol=symbol)
    world.fault("finnhub.rate_limit")
    world.fault("finnhub.refuse_stream")
    world.fault("finnhub.drop_connection")
    eventually(
        lambda: logged(world, "stream_changed", since_s, source="finnhub", is_up=False),
        "the stream is down",
    )
    eventually(lambda: quality_of(world, symbol) == "stale", "its last price grows old")
    with world.span("spoilt", symbol=symbol):
        late = world.add(symbol, "live")
        world.until_state(late, "armed")
        before = throttled(world)
        world.stays_out(symbol, "live", seconds=THROTTLED_S)
        asked = {name: count - before[name] for name, count in throttled(world).items()}
    assert asked["rate_limit"] <= 2, "the vendor's reset is up to a minute away"
    assert asked["refuse_stream"] <= 3 * THROTTLED_S, "its waits are compressed as time is"
    world.clear()
    world.until_state(late, "open")
    world.leave(late, "live")
    world.leave(resting)
    return {f"{name}_in_{THROTTLED_S:.0f}_s": count for name, count in asked.items()}


@acts.row(55)
def row_55_malformed_json_is_dropped_and_the_actor_lives(world: World) -> None:
    name = "market.ingest.finnhub"
    before = actor(world, name)["incarnation"]
    symbol = world.symbol()
    world.fault("finnhub.bad_frame", count=20)
    world.fault("finnhub.truncated", count=50)
    plan_id = world.add(symbol)
    eventually(lambda: not is_set(world, "finnhub.bad_frame"), "the frames were said")
    entered_once(world, symbol, plan_id)
    assert actor(world, name)["incarnation"] == before


@acts.row(56, own=True, FINNHUB_SILENT_S_MAX="4")
def row_56_a_silent_stream_is_stale_and_connected_anew(world: World) -> None:
    since_s = wall_s()
    symbol, plan_id = starved(world)
    world.fault("finnhub.half_open")
    with world.span("spoilt", symbol=symbol):
        eventually(
            lambda: logged(world, "stream_changed", since_s, source="finnhub", is_up=False),
            "the silence is seen",
        )
        world.stays_out(symbol)
    world.clear()
    eventually(
        lambda: logged(world, "stream_changed", since_s, source="finnhub", is_up=True),
        "connected anew",
    )
    entered_once(world, symbol, plan_id)


@pytest.mark.parametrize("number", acts.quick())
def test_quick_row(number: int, runs: Runs) -> None:
    acts.play(number, runs)


@pytest.mark.slow
@pytest.mark.parametrize("number", acts.numbers())
def test_row(number: int, runs: Runs) -> None:
    acts.play(number, runs)
