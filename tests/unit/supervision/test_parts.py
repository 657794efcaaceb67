"""The small parts: clock, registry, events, gate, window, check-ins, lag, reasons, plans, rows."""

import asyncio
import random
import re
import time
from pathlib import Path

import pytest

import tradebox.supervision
from support.manual_tree import manual_tree, run_seeded, until
from support.puppets import Do, Stage
from tradebox.supervision import errors
from tradebox.supervision.actor import Actor
from tradebox.supervision.checkin import CheckinWatch, LagFigures, LagMeter
from tradebox.supervision.clock import ManualClock, MonotonicClock, settle, yield_turn
from tradebox.supervision.errors import ActorDown, EpochSpent, NameTaken, StartFailed
from tradebox.supervision.events import ActorEvent, CheckinMissed, EventBus, LoopLag
from tradebox.supervision.gate import COUNTER_BITS, EPOCH_LIMIT, EpochGate, Fenced, compose_epoch
from tradebox.supervision.intensity import RestartWindow
from tradebox.supervision.reasons import (
    Abandoned,
    Crash,
    FailedToStart,
    Hung,
    Killed,
    NoProc,
    Normal,
    Shutdown,
    root_cause,
)
from tradebox.supervision.registry import Registry
from tradebox.supervision.spec import Backoff, ChildSpec, SupFlags
from tradebox.supervision.supervisor import nested
from tradebox.supervision.tree import Runtime, run_tree, tree_rows


def event(name, at_s=0.0):
    return ActorEvent(at_s=at_s, name=name)


def test_expected_reasons_are_normal_and_shutdown_only():
    reasons = [Normal(), Shutdown(), Killed(), Crash(KeyError()), Hung("x"), Abandoned(), NoProc()]
    assert [reason.expected for reason in reasons] == [True, True] + [False] * 5
    assert [str(reason) for reason in reasons] == [
        "normal",
        "shutdown",
        "killed",
        "crash(KeyError)",
        "hung(x)",
        "abandoned",
        "noproc",
    ]
    assert root_cause(Shutdown(FailedToStart("a", Killed()))) == Killed()


def test_each_error_carries_fields_and_tells_its_answer():
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type)]
    faults = [kind for kind in kinds if issubclass(kind, errors.SupervisionFault)]
    assert len(faults) >= 9
    for fault in faults:
        assert "Answer: " in fault.__doc__, fault


@pytest.mark.asyncio
async def test_the_manual_clock_fires_in_order_of_time_then_of_making():
    clock, fired = ManualClock(), []
    for when, what in [(2.0, "c"), (1.0, "a"), (1.0, "b"), (0.0, "0")]:
        clock.call_at(when, lambda what=what: fired.append((clock.now(), what)))
    cancelled = clock.call_at(1.5, lambda: fired.append("never"))
    cancelled.cancel()
    clock.advance(3.0)
    assert fired == [(0.0, "0"), (1.0, "a"), (1.0, "b"), (2.0, "c")]
    assert clock.now() == 3.0


@pytest.mark.asyncio
async def test_the_manual_clock_wakes_sleepers_one_after_another():
    clock, woken = ManualClock(), []

    async def sleeper(seconds):
        await clock.sleep(0)
        await clock.sleep(seconds)
        woken.append(clock.now())

    tasks = [asyncio.ensure_future(sleeper(n)) for n in (3.0, 1.0, 2.0)]
    await clock.run_for(10.0)
    assert woken == [1.0, 2.0, 3.0]
    assert all(task.done() for task in tasks)


@pytest.mark.asyncio
async def test_settle_refuses_a_loop_that_never_rests():
    async def spin():
        while True:
            await yield_turn()

    spinning = asyncio.ensure_future(spin())
    with pytest.raises(AssertionError, match="spins"):
        await settle()
    spinning.cancel()


@pytest.mark.asyncio
async def test_the_monotonic_clock_never_fires_early_and_cancels():
    clock, fired = MonotonicClock(), []
    start = clock.now()
    for wait in (0.0, 0.0004, 0.0031, 0.01):
        clock.call_at(start + wait, lambda wait=wait: fired.append(clock.now() - start - wait))
    clock.call_at(start + 0.002, lambda: fired.append(-1.0)).cancel()
    await clock.sleep(0.02)
    assert len(fired) == 4
    assert min(fired) >= 0.0


def test_the_registry_keeps_names_unique_and_frees_them_at_the_end():
    async def main():
        stage = Stage()
        async with manual_tree(nested("root", SupFlags(intensity=9), map(stage.child, "ab"))) as t:
            registry, one, other = t.runtime.registry, t.ref("a"), t.ref("b")
            registry.register("leader", one)
            registry.register("leader", one)
            with pytest.raises(NameTaken):
                registry.register("leader", other)
            via = registry.via("leader")
            assert via.tell("x")
            assert await t.within(via.ask("y")) == "y"
            one.tell(Do("crash"))
            await t.run()
            assert not via.alive
            assert via.tell("z") is False
            with pytest.raises(ActorDown):
                await via.ask("z")
            with pytest.raises(ActorDown):
                registry.register("leader", one)
            registry.register("leader", other)
            registry.unregister("leader")
            registry.unregister("leader")
            assert registry.names() == ["a", "b", "root"]
            assert registry.via("a").alive

    run_seeded(1, main)


@pytest.mark.asyncio
async def test_the_bus_keeps_order_counts_losses_and_survives_a_broken_sink():
    bus, called = EventBus(), []
    reader = bus.subscribe(ActorEvent, maxlen=2)
    bus.attach(LoopLag, called.append)
    broken = bus.attach(object, lambda _: 1 / 0)
    for n in range(4):
        bus.publish(event(str(n)))
    bus.publish("a word of somebody else")
    lag = LoopLag(at_s=0.0, name="loop", lag_s=1.0)
    bus.publish(lag)
    assert [each.name for each in reader.drain()] == ["3", "loop"]
    assert (reader.dropped, called, bus.sink_faults) == (3, [lag], 6)
    broken.close()
    reading = asyncio.ensure_future(anext(aiter(reader)))
    await settle()
    bus.publish(event("x"))
    assert (await reading).name == "x"
    reader.close()
    bus.publish(event("y"))
    assert reader.drain() == []


def test_an_epoch_gate_deposes_the_owner_before():
    gate = EpochGate(boot=3, generation=2, name="feed")
    assert isinstance(gate.check(gate.epoch), Fenced)
    one = gate.acquire("a")
    assert gate.check(one) is None
    two = gate.acquire("b")
    assert two > one
    assert gate.check(one) == Fenced(one, two)
    assert (gate.owner, gate.refused) == ("b", 2)
    assert EpochGate(boot=3, generation=3).acquire("a") > two
    assert EpochGate(boot=4).acquire("a") > EpochGate(boot=3, generation=4095).acquire("a")


def test_epochs_stay_below_what_a_double_can_tell_apart_and_end_loudly():
    last = compose_epoch(2**20 - 1, 2**12 - 1, 2**20 - 1)
    assert last == EPOCH_LIMIT - 1
    assert float(last) != float(last - 1)
    gate = EpochGate()
    gate._counter = (1 << COUNTER_BITS) - 2
    gate.acquire("a")
    with pytest.raises(EpochSpent):
        gate.acquire("a")
    for bad in [(2**20, 0, 0), (0, 2**12, 0), (0, 0, 2**20), (-1, 0, 0)]:
        with pytest.raises(AssertionError):
            compose_epoch(*bad)


def test_the_window_counts_stamps_not_older_than_the_period():
    window, exceeded = RestartWindow(2, 5.0).add(0.0)
    for at, much in [(1.0, False), (5.0, True), (5.1, True), (20.0, False)]:
        window, exceeded = window.add(at)
        assert exceeded is much, at
    assert window.count(20.0) == 1
    assert window.count(25.1) == 0


def test_a_backoff_grows_to_its_cap_and_draws_its_jitter_downwards():
    rng = random.Random(4)
    plain = Backoff(initial_s=1.0, max_s=5.0, jitter=0.0)
    assert [plain.delay_s(n, rng) for n in (1, 2, 3, 4, 5_000)] == [1, 2, 4, 5, 5]
    drawn = [Backoff(1.0, 5.0, 0.5).delay_s(3, rng) for _ in range(100)]
    assert 2.0 <= min(drawn) < max(drawn) <= 4.0


@pytest.mark.asyncio
async def test_a_watch_that_was_itself_late_blames_the_loop_first():
    clock, late = ManualClock(), []
    watch = CheckinWatch(clock, 1.0, lambda: 0.0, late.append)
    clock._now = 1.8
    await clock.run_for(0.0)
    assert late == []
    await clock.run_for(0.5)
    assert late == [pytest.approx(2.3)]
    watch.cancel()


@pytest.mark.asyncio
async def test_a_missed_check_in_is_an_event_with_its_age():
    stage = Stage()
    async with manual_tree(nested("root", None, [stage.child("a", checkin=0.3)])) as tree:
        tree.ref("a").tell(Do("hang"))
        await tree.run(0.5)
        (missed,) = tree.of(CheckinMissed)
        assert (missed.name, missed.limit_s) == ("a", 0.3)
        assert missed.age_s >= 0.3


@pytest.mark.asyncio
async def test_slots_are_written_by_the_receive_loop_and_given_back():
    class Board:
        def __init__(self):
            self.log = []

        def open(self, name, incarnation, limit_s):
            self.log.append((name, limit_s))
            return self

        def write(self, now_s):
            self.log.append(now_s)

        def close(self):
            self.log.append("closed")

    board, clock, stage = Board(), ManualClock(), Stage()
    runtime = Runtime(clock, slots=board)
    await runtime.start(nested("root", None, [stage.child("a", checkin=3.0), stage.child("b")]))
    await clock.run_for(2.0)
    assert board.log[0] == ("a", 3.0)
    assert board.log[-1] == 2.0
    runtime.registry.whereis("a").tell(Do("hang"))
    await clock.run_for(2.5)
    assert board.log[-1] == 2.0
    stage.clear.set()
    await runtime.stop()
    assert board.log[-1] == "closed"


def test_lag_quantiles_are_never_below_the_truth_nor_twice_above():
    rng, figures, lags = random.Random(9), LagFigures(), []
    assert figures.quantile(0.99) == 0.0
    for _ in range(2_000):
        lags.append(rng.expovariate(500.0))
        figures.add(lags[-1])
    lags.sort()
    for share in (0.5, 0.9, 0.99, 1.0):
        truth = lags[max(0, int(share * len(lags)) - 1)]
        assert truth <= figures.quantile(share) <= max(2 * truth, 0.0001)
    assert figures.max_s == lags[-1]


@pytest.mark.asyncio
async def test_the_lag_meter_reports_a_late_tick_and_beats_for_the_loop():
    clock, bus, beats = ManualClock(), EventBus(), []
    reader = bus.subscribe(LoopLag)
    meter = LagMeter(clock, bus, interval_s=0.05, limit_s=0.1, on_tick=beats.append)
    meter.start()
    clock.advance(0.05)
    clock._now += 0.3
    clock.advance(0.0)
    (lag,) = reader.drain()
    assert lag.lag_s == pytest.approx(0.25)
    assert (len(beats), meter.figures.count) == (2, 2)
    meter.stop()
    assert clock.pending == 0


@pytest.mark.asyncio
async def test_the_witness_names_the_frame_that_holds_the_loop():
    bus = EventBus()
    reader = bus.subscribe(LoopLag)
    meter = LagMeter(MonotonicClock(), bus, interval_s=0.005, limit_s=0.02)
    meter.start(frames=True)
    await MonotonicClock().sleep(0.01)

    def hold_the_loop():
        until_s = time.monotonic() + 10.0
        while not meter._witness._note and time.monotonic() < until_s:
            sum(range(1_000))

    hold_the_loop()
    lag = await asyncio.wait_for(reader.get(), 10)
    meter.stop()
    assert "hold_the_loop" in lag.culprit


@pytest.mark.asyncio
async def test_rows_show_the_whole_tree_with_what_has_no_process():
    class Fenced(Actor):
        epoch = 7

    stage = Stage()
    inner = nested("s", SupFlags(intensity=3), [stage.child("a"), stage.child("b")])
    async with manual_tree(nested("root", None, [inner, ChildSpec("c", Fenced)])) as tree:
        tree.ref("s.a").tell(Do("crash"))
        await tree.run(2.0)
        from tradebox.supervision.requests import SupervisorHandle

        await tree.within(SupervisorHandle(tree.ref("s")).terminate_child("b"))
        rows = {row.name: row for row in tree_rows(tree.runtime.root)}
        assert list(rows) == ["root", "s", "s.a", "s.b", "c"]
        assert rows["s"].intensity == "1/3 in 5s"
        assert rows["s.a"].restarts == 1
        assert rows["s.a"].last_reason.startswith("crash(Boom")
        assert (rows["s.a"].state, rows["s.a"].uptime_s) == ("running", 2.0)
        assert (rows["s.b"].state, rows["s.b"].uptime_s) == ("stopped", None)
        assert (rows["c"].epoch, rows["c"].type) == (7, "worker")
        assert rows["c"].checkin_age_s <= 1.0
        assert tree.runtime.rows() == tree_rows(tree.runtime.root)


@pytest.mark.asyncio
async def test_run_tree_tells_when_it_is_ready_and_why_it_ended():
    stage, clock, ready = Stage(), ManualClock(), []

    def on_ready(runtime):
        ready.append(runtime.root.alive)
        runtime.request_stop(Shutdown("asked"))

    root = nested("root", None, [stage.child("a")])
    assert await run_tree(root, clock=clock, on_ready=on_ready) == Shutdown("asked")
    assert ready == [True]
    stage.next_inits("a", ValueError("x"))
    with pytest.raises(StartFailed):
        await run_tree(root, clock=clock)


def test_a_seed_fixes_the_order_of_ready_tasks():
    def order(seed):
        async def main():
            seen = []

            async def note(n):
                seen.append(n)

            tasks = [asyncio.ensure_future(note(n)) for n in range(8)]
            await until(lambda: all(task.done() for task in tasks))
            return tuple(seen)

        return run_seeded(seed, main)

    assert order(1) == order(1)
    assert len({order(seed) for seed in range(10)}) > 1


def test_only_the_kernel_creates_tasks():
    package = Path(tradebox.supervision.__file__).parent
    makers = re.compile(r"create_task\(|ensure_future\(|TaskGroup\(|asyncio\.gather\(|create_eager")
    folders = [package, package.parent / "actors", package.parent / "execution"]
    files = [
        file for folder in folders for file in folder.rglob("*.py") if file.name != "kernel.py"
    ]
    assert files
    assert [str(file) for file in files if makers.search(file.read_text())] == []


def test_the_registry_is_usable_without_a_tree():
    registry = Registry()
    assert registry.whereis("x") is None
    assert registry.names() == []
