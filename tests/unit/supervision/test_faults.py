"""Harm: killed supervisors, deaf children, crashes at bad moments: cases 46 and 59-66."""

import asyncio
import gc

import anyio
import pytest

from support.manual_tree import manual_tree, until
from support.puppets import Boom, Do, Puppet, Stage
from tradebox.supervision.actor import Actor, Stop
from tradebox.supervision.clock import ManualClock, MonotonicClock, settle
from tradebox.supervision.errors import ActorDown, MailboxFull, StartFailed
from tradebox.supervision.events import ChildAbandoned, ChildExited, ChildStarted
from tradebox.supervision.gate import EpochGate, Fenced
from tradebox.supervision.mailbox import Overflow
from tradebox.supervision.reasons import Abandoned, Crash, Hung, Killed, Shutdown
from tradebox.supervision.spec import ChildSpec, RestartScope, SupFlags
from tradebox.supervision.supervisor import nested
from tradebox.supervision.tree import Runtime, run_tree


@pytest.mark.asyncio
async def test_46_a_killed_supervisor_in_the_middle_leaves_no_orphans():
    stage = Stage()
    inner = nested("s", None, [stage.child("a"), nested("t", None, [stage.child("b")])])
    async with manual_tree(nested("root", None, [inner])) as tree:
        old = [tree.ref(name) for name in ("s", "s.a", "s.t", "s.t.b")]
        tree.runtime.kernel.kill(old[0]._cell)
        await tree.run(1)
        assert [ref.reason for ref in old] == [Killed()] * 4
        assert len(tree.runtime.kernel.live_cells()) == 5
        assert tree.ref("s.t.b").alive


@pytest.mark.asyncio
async def test_46_the_successor_starts_only_when_the_old_subtree_is_gone():
    stage = Stage()
    inner = nested("s", None, [stage.child("a")])
    async with manual_tree(nested("root", None, [inner])) as tree:
        tree.ref("s.a").tell(Do("deaf"))
        await tree.run()
        old = tree.ref("s")
        tree.runtime.kernel.kill(old._cell)
        await tree.run(0.06)
        assert old.alive
        await tree.run(0.02)
        assert tree.ref("s.a").incarnation > old.incarnation
        stage.clear.set()
        await settle()
        assert tree.runtime.kernel.zombies == 0


@pytest.mark.asyncio
async def test_59_a_crash_inside_terminate_is_the_reason_and_harms_nobody_else():
    stage = Stage(ends={"b": Boom("end")})
    async with manual_tree(nested("root", None, map(stage.child, "abc"))) as tree:
        await tree.within(tree.runtime.stop())
        ends = {event.child_id: event.reason for event in tree.of(ChildExited)}
        assert ends == {"a": Shutdown(), "b": Crash(Boom("end")), "c": Shutdown()}


@pytest.mark.asyncio
async def test_59_an_earlier_crash_stays_the_reason():
    stage = Stage(ends={"a": Boom("end")})
    async with manual_tree(nested("root", None, [stage.child("a")])) as tree:
        tree.ref("a").tell(Do("crash"))
        await tree.run()
        assert tree.of(ChildExited)[0].reason == Crash(Boom("a"))
        stage.ends.clear()


@pytest.mark.asyncio
async def test_60_a_cancellation_during_init_leaves_neither_child_nor_name():
    stage = Stage()
    stage.next_inits("a", "hang")
    runtime = Runtime(ManualClock())
    starter = asyncio.ensure_future(runtime.start(nested("root", None, [stage.child("a")])))
    await settle()
    assert runtime.registry.whereis("a") is not None
    starter.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starter
    await settle()
    assert not runtime.kernel.live_cells()
    assert runtime.registry.names() == []


@pytest.mark.asyncio
async def test_61_a_native_cancel_ends_an_actor_that_runs_an_anyio_group_inside():
    class Grouped(Actor):
        async def handle(self, msg):
            with anyio.fail_after(3600):
                async with anyio.create_task_group() as group:
                    group.start_soon(anyio.sleep, 3600)
                    group.start_soon(anyio.sleep, 3600)

    async with manual_tree(nested("root", None, [ChildSpec("g", Grouped)])) as tree:
        old = tree.ref("g")
        old.tell("go")
        await settle()
        old._cell.task.cancel()
        await tree.run()
        assert old.reason == Killed()
        assert tree.ref("g").alive


@pytest.mark.asyncio
async def test_62_a_deaf_child_is_abandoned_replaced_fenced_and_counted():
    stage, gate = Stage(), EpochGate()
    async with manual_tree(nested("root", None, [stage.child("a", checkin=1.0)])) as tree:
        old = tree.ref("a")
        epoch = gate.acquire("old")
        old.tell(Do("deaf"))
        await tree.run(1.2)
        assert old.reason == Abandoned()
        assert stage.trace.count("cancelled") == 3
        assert tree.of(ChildAbandoned)[0].zombies == 1
        assert tree.ref("a").alive
        gate.acquire("new")
        assert isinstance(gate.check(epoch), Fenced)
        assert old.tell("late") is False
        zombie = stage.made[0]
        with pytest.raises(ActorDown):
            zombie.ctx.spawn_io(stage.hang())
        with pytest.raises(ActorDown):
            zombie.ctx.registry.register("mine", zombie.ctx.ref)
        with pytest.raises(StartFailed):
            await tree.runtime.kernel.start(stage.child("orphan"), old._cell)
        assert tree.runtime.kernel.zombies == 1
        stage.clear.set()
        await settle()
        assert tree.runtime.kernel.zombies == 0


@pytest.mark.asyncio
async def test_62_the_kill_ladder_cancels_at_0_10_and_50_ms_and_abandons_at_70():
    stage = Stage()
    async with manual_tree(nested("root", None, [stage.child("a")])) as tree:
        old = tree.ref("a")
        old.tell(Do("deaf"))
        await settle()
        tree.runtime.kernel.kill(old._cell, Hung("probe"))
        counts = []
        for step in (0.0, 0.009, 0.002, 0.038, 0.002, 0.018):
            await tree.run(step)
            counts.append(stage.trace.count("cancelled"))
        assert counts == [1, 1, 2, 2, 3, 3]
        assert old.alive
        await tree.run(0.002)
        assert not old.alive
        stage.clear.set()
        await settle()


@pytest.mark.asyncio
async def test_62_too_many_zombies_end_the_tree_for_a_fresh_process():
    stage = Stage()
    flags = SupFlags(intensity=100)
    runtime = Runtime(ManualClock(), zombies_max=3)
    await runtime.start(nested("root", flags, [stage.child("a", checkin=1.0)]))
    waiting = asyncio.ensure_future(runtime.wait())
    for _ in range(3):
        assert not waiting.done()
        runtime.registry.whereis("a").tell(Do("deaf"))
        await runtime.clock.run_for(1.2)
    assert await waiting == Hung("zombies")
    stage.clear.set()
    await settle()
    assert runtime.kernel.zombies == 0


@pytest.mark.asyncio
async def test_63_cancelling_the_root_stops_in_order():
    stage = Stage(ends={"b": 1.0})
    clock = ManualClock()
    root = nested("root", None, [stage.child("a"), nested("s", None, map(stage.child, "bc"))])
    running = asyncio.ensure_future(run_tree(root, clock=clock))
    await clock.run_for(1)
    stage.took()
    running.cancel()
    await clock.run_for(2)
    with pytest.raises(asyncio.CancelledError):
        await running
    assert stage.took() == [f"stop {x} shutdown" for x in "cba"]


@pytest.mark.asyncio
async def test_63_cancelling_twice_kills():
    stage = Stage(ends={"a": 1.0})
    clock = ManualClock()
    running = asyncio.ensure_future(run_tree(nested("root", None, [stage.child("a")]), clock=clock))
    await settle()
    for _ in range(2):
        running.cancel()
        await settle()
    await clock.run_for(0.1)
    assert running.done()
    assert stage.took() == ["start a"]


@pytest.mark.asyncio
@pytest.mark.parametrize("scope", list(RestartScope))
async def test_64_a_supervisor_that_dies_during_a_group_restart_leaves_nothing_behind(scope):
    stage = Stage()
    inner = nested("s", SupFlags(scope, intensity=9), map(stage.child, "abc"))
    async with manual_tree(nested("root", None, [inner])) as tree:
        stage.next_inits("b", "hang")
        tree.ref("s.b").tell(Do("crash"))
        await settle()
        old = tree.ref("s")
        tree.runtime.kernel.kill(old._cell)
        await tree.run(1)
        assert old.reason == Killed()
        assert sorted(cell.name for cell in tree.runtime.kernel.live_cells()) == [
            "root",
            "s",
            "s.a",
            "s.b",
            "s.c",
        ]


@pytest.mark.asyncio
async def test_65_a_caller_that_is_cancelled_leaves_no_unhandled_future():
    complaints = []
    asyncio.get_running_loop().set_exception_handler(lambda _, what: complaints.append(what))
    stage = Stage()
    async with manual_tree(nested("root", None, [stage.child("a")])) as tree:
        ref = tree.ref("a")
        ref.tell(Do("hang"))
        await settle()
        callers = [asyncio.ensure_future(ref.ask(n)) for n in range(3)]
        await settle()
        callers[0].cancel()
        await settle()
        tree.runtime.kernel.kill(ref._cell)
        await until(lambda: not ref.alive)
        callers[1].cancel()
        await settle()
        assert ref._cell.pending == set()
        with pytest.raises(ActorDown):
            await callers[2]
    del callers
    gc.collect()
    await settle()
    assert complaints == []


@pytest.mark.asyncio
async def test_66_exception_groups_keep_their_cause():
    class Grouped(Actor):
        async def handle(self, msg):
            async with anyio.create_task_group() as group:
                group.start_soon(self.fail)

        async def fail(self):
            raise Boom("inner") from KeyError("cause")

    async with manual_tree(nested("root", None, [ChildSpec("g", Grouped)])) as tree:
        tree.ref("g").tell("go")
        await tree.run()
        error = tree.of(ChildExited)[0].reason.error
        assert isinstance(error, ExceptionGroup)
        assert error.exceptions[0] == Boom("inner")
        assert isinstance(error.exceptions[0].__cause__, KeyError)


@pytest.mark.asyncio
async def test_a_cancelled_error_from_inside_is_a_crash_not_a_kill():
    class Inside(Actor):
        async def handle(self, msg):
            gone = asyncio.get_running_loop().create_future()
            gone.cancel()
            await gone

    async with manual_tree(nested("root", None, [ChildSpec("a", Inside)])) as tree:
        tree.ref("a").tell("go")
        await tree.run()
        reason = tree.of(ChildExited)[0].reason
        assert isinstance(reason.error, asyncio.CancelledError)


class Reader(Puppet):
    """Feeds its own mailbox from a coroutine it owns."""

    async def init(self, ctx):
        await super().init(ctx)
        ctx.spawn_io(self.read())

    async def read(self):
        try:
            for n in (1, 2):
                self.ctx.ref.tell(n)
            await self.stage.hang()
            self.stage.clear.clear()
            raise Boom("io")
        finally:
            self.stage.trace.append("io gone")


@pytest.mark.asyncio
async def test_a_coroutine_owned_by_an_actor_feeds_it_and_ends_before_terminate():
    stage = Stage()
    spec = ChildSpec("a", lambda: Reader(stage, "a"))
    async with manual_tree(nested("root", None, [spec])) as tree:
        await settle()
        assert stage.made[0].heard == [1, 2]
        assert tree.ref("a").alive
    assert stage.took() == ["start a", "io gone", "stop a shutdown"]


@pytest.mark.asyncio
async def test_a_crash_of_an_owned_coroutine_crashes_the_actor_and_a_kill_takes_it_along():
    stage = Stage()
    spec = ChildSpec("a", lambda: Reader(stage, "a"))
    async with manual_tree(nested("root", SupFlags(intensity=9), [spec])) as tree:
        await settle()
        stage.clear.set()
        await settle()
        assert tree.of(ChildExited)[0].reason == Crash(Boom("io"))
        stage.took()
        await settle()
        tree.runtime.kernel.kill(tree.ref("a")._cell)
        await tree.run()
        assert "io gone" in stage.took()
        await tree.within(tree.root.terminate_child("a"))


@pytest.mark.asyncio
async def test_a_deaf_coroutine_is_abandoned_and_its_actor_ends_in_order():
    class Deaf(Puppet):
        async def init(self, ctx):
            await super().init(ctx)
            ctx.spawn_io(self.stage.deaf())

    stage = Stage()
    spec = ChildSpec("a", lambda: Deaf(stage, "a"))
    async with manual_tree(nested("root", None, [spec])) as tree:
        await settle()
        await tree.within(tree.root.terminate_child("a"))
        assert tree.of(ChildExited)[0].reason == Shutdown()
        assert tree.runtime.kernel.zombies == 1
        assert stage.trace[-1] == "stop a shutdown"
        stage.clear.set()
        await settle()
        assert tree.runtime.kernel.zombies == 0


@pytest.mark.asyncio
async def test_a_mailbox_of_policy_error_crashes_its_actor_when_it_overflows():
    class Small(Puppet):
        mailbox_capacity = 2
        overflow = Overflow.ERROR

    stage = Stage()
    spec = ChildSpec("a", lambda: Small(stage, "a"))
    async with manual_tree(nested("root", None, [spec])) as tree:
        ref = tree.ref("a")
        assert [ref.tell(n) for n in range(3)] == [True, True, False]
        await tree.run()
        assert isinstance(tree.of(ChildExited)[0].reason.error, MailboxFull)


@pytest.mark.asyncio
async def test_stop_ends_an_actor_with_its_reason_and_fails_who_asked():
    class Ends(Actor):
        async def handle_call(self, req, reply_to):
            raise Stop(Shutdown("done"))

    async with manual_tree(nested("root", None, [ChildSpec("a", Ends)])) as tree:
        with pytest.raises(ActorDown) as caught:
            await tree.within(tree.ref("a").ask("x"))
        assert caught.value.reason == Shutdown("done")


def crash_many_times(runner):
    async def main():
        stage = Stage()
        runtime = Runtime(MonotonicClock())
        flags = SupFlags(intensity=1_000)
        await runtime.start(nested("root", flags, map(stage.child, "ab")))
        starts = runtime.events.subscribe(ChildStarted)
        for _ in range(50):
            runtime.registry.whereis("a").tell(Do("crash"))
            await asyncio.wait_for(starts.get(), 10)
        kill = runtime.registry.whereis("b")
        kill.tell(Do("deaf"))
        await asyncio.sleep(0)
        runtime.kernel.kill(kill._cell)
        await asyncio.wait_for(starts.get(), 10)
        stage.clear.set()
        assert kill.reason == Abandoned()
        return await runtime.stop()

    return runner(main())


def test_restarts_work_on_the_stock_loop_in_real_time():
    assert crash_many_times(asyncio.run) == Shutdown()


def test_restarts_work_under_uvloop():
    import uvloop

    assert crash_many_times(uvloop.run) == Shutdown()


@pytest.mark.asyncio
async def test_a_tree_that_is_still_starting_has_no_rows():
    seen = []
    runtime = Runtime(MonotonicClock())

    class Curious(Actor):
        async def init(self, ctx):
            seen.append(runtime.rows())

    await runtime.start(nested("root", None, [ChildSpec("a", Curious)]))
    assert seen == [[]]
    assert [row.name for row in runtime.rows()] == ["root", "a"]
    await runtime.stop()
