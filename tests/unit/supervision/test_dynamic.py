"""Children of one template: cases 14, 36-39, 45 of OTP's suite, and its part of 4, 42, 47, 50."""

import gc

import pytest

from support.manual_tree import manual_tree
from support.puppets import IGNORE, Boom, Do, Stage
from tradebox.supervision.actor import Actor
from tradebox.supervision.dynamic import DynamicSupervisor
from tradebox.supervision.events import ChildExited, ChildStarted
from tradebox.supervision.reasons import Crash, Killed, Shutdown
from tradebox.supervision.requests import (
    AlreadyDone,
    ChildCounts,
    ChildStatus,
    Done,
    Ignored,
    NotStarted,
    Started,
    SupervisorHandle,
    Why,
)
from tradebox.supervision.spec import (
    ChildSpec,
    ChildType,
    RestartScope,
    RestartType,
    StrategyInvalid,
    SupFlags,
)
from tradebox.supervision.supervisor import nested


def pool(stage, restart=RestartType.PERMANENT, flags=None, **fields):
    template = stage.child("p", restart, **fields)
    spec = ChildSpec("pool", lambda: DynamicSupervisor(flags, template), type=ChildType.SUPERVISOR)
    return nested("root", None, [spec])


def handle(tree):
    return SupervisorHandle(tree.ref("pool"))


@pytest.mark.asyncio
async def test_14_calls_that_need_an_id_are_refused():
    stage = Stage()
    async with manual_tree(pool(stage)) as tree:
        sup = handle(tree)
        started = await tree.within(sup.start_with(1))
        for call in (
            sup.start_child(stage.child("x")),
            sup.restart_child("1"),
            sup.delete_child("1"),
            sup.terminate_child("1"),
        ):
            assert (await tree.within(call)).why is Why.SIMPLE_ONE_FOR_ONE
        assert await tree.within(sup.terminate_child(started.ref)) == Done()
        assert (await tree.within(sup.terminate_child(started.ref))).why is Why.NOT_FOUND
        assert (await tree.within(sup.count_children())).specs == 0


def test_14_only_one_for_one_is_possible():
    with pytest.raises(StrategyInvalid):
        DynamicSupervisor(SupFlags(RestartScope.ONE_FOR_ALL), ChildSpec("p", Actor))


@pytest.mark.asyncio
async def test_36_a_crashed_child_comes_back_with_its_own_arguments():
    stage = Stage()
    async with manual_tree(pool(stage)) as tree:
        for arg in (1, 2):
            assert isinstance(await tree.within(handle(tree).start_with(arg)), Started)
        tree.ref("pool.2").tell(Do("crash"))
        await tree.run()
        assert stage.took() == ["start p1", "start p2", f"stop p2 {Crash(Boom('p2'))}", "start p2"]


@pytest.mark.asyncio
async def test_36_extra_a_failing_start_is_reported_and_not_kept():
    stage = Stage()
    stage.next_inits("p1", Boom("p1"))
    stage.next_inits("p2", "info")
    async with manual_tree(pool(stage)) as tree:
        assert isinstance(await tree.within(handle(tree).start_with(1)), NotStarted)
        assert (await tree.within(handle(tree).start_with(2))).info == "info"
        assert (await tree.within(handle(tree).count_children())).specs == 1


@pytest.mark.asyncio
async def test_36_escalation_takes_all_children_along():
    stage = Stage()
    async with manual_tree(pool(stage, flags=SupFlags(intensity=0))) as tree:
        for arg in range(3):
            await tree.within(handle(tree).start_with(arg))
        first = tree.ref("pool")
        tree.ref("pool.1").tell(Do("crash"))
        await tree.run()
        assert first.reason == Shutdown("intensity")
        assert (await tree.within(handle(tree).which_children())) == ()


@pytest.mark.asyncio
async def test_37_children_stop_in_parallel_under_one_deadline():
    stage = Stage(ends={f"p{n}": 10.0 for n in range(5)})
    async with manual_tree(pool(stage, shutdown=2.0)) as tree:
        for arg in range(5):
            await tree.within(handle(tree).start_with(arg))
        before = tree.clock.now()
        await tree.within(tree.root.terminate_child("pool"))
        assert 2.0 <= tree.clock.now() - before < 2.1
        assert [event.reason for event in tree.of(ChildExited)[:5]] == [Killed()] * 5


@pytest.mark.asyncio
async def test_38_a_restart_that_ignores_removes_the_child():
    stage = Stage()
    async with manual_tree(pool(stage)) as tree:
        await tree.within(handle(tree).start_with(1))
        stage.next_inits("p1", IGNORE)
        tree.ref("pool.1").tell(Do("crash"))
        await tree.run()
        assert (await tree.within(handle(tree).which_children())) == ()


@pytest.mark.asyncio
async def test_39_arguments_of_temporary_children_are_not_retained():
    class Big:
        def __str__(self):
            return "1"

    class Forgetful(Actor):
        def __init__(self, big):
            pass

    template = ChildSpec("p", Forgetful, RestartType.TEMPORARY)
    spec = ChildSpec("pool", lambda: DynamicSupervisor(None, template), type=ChildType.SUPERVISOR)
    async with manual_tree(nested("root", None, [spec])) as tree:
        await tree.within(handle(tree).start_with(Big()))
        gc.collect()
        assert not [one for one in gc.get_objects() if isinstance(one, Big)]


@pytest.mark.asyncio
async def test_a_named_incarnation_of_a_dynamic_child_is_replaced_once():
    stage = Stage()
    async with manual_tree(pool(stage)) as tree:
        ref = (await tree.within(handle(tree).start_with(1))).ref
        new = await tree.within(handle(tree).restart_child(ref.id, ref.incarnation))
        again = await tree.within(handle(tree).restart_child(ref.id, ref.incarnation))
        assert again == AlreadyDone(new.ref)


@pytest.mark.asyncio
@pytest.mark.parametrize("restart", list(RestartType))
async def test_04_an_ignoring_child_of_a_template_is_never_kept(restart):
    stage = Stage()
    async with manual_tree(pool(stage, restart)) as tree:
        stage.next_inits("p1", IGNORE)
        assert await tree.within(handle(tree).start_with(1)) == Ignored()
        assert (await tree.within(handle(tree).count_children())).specs == 0


@pytest.mark.asyncio
async def test_42_50_children_of_a_template_are_counted_and_listed():
    stage = Stage()
    async with manual_tree(pool(stage)) as tree:
        refs = [(await tree.within(handle(tree).start_with(arg))).ref for arg in (1, 2, 3)]
        await tree.within(handle(tree).terminate_child(refs[1]))
        rows = await tree.within(handle(tree).which_children())
        assert [row.ref for row in rows] == [refs[0], refs[2]]
        counts = await tree.within(handle(tree).count_children())
        assert counts == ChildCounts(specs=2, active=2, supervisors=0, workers=2)


@pytest.mark.asyncio
async def test_47_a_pool_answers_and_stops_while_a_child_fails_to_come_back():
    stage = Stage()
    flags = SupFlags(intensity=1_000_000, period=3_600.0)
    async with manual_tree(pool(stage, flags=flags)) as tree:
        await tree.within(handle(tree).start_with(1))
        stage.next_inits("p1", *[Boom("p1")] * 100_000)
        tree.ref("pool.1").tell(Do("crash"))
        events = tree.runtime.events.subscribe()
        for _ in range(50):
            await events.get()
        (row,) = await handle(tree).which_children()
        assert row.status is ChildStatus.RESTARTING
        assert (await handle(tree).count_children()).active == 0
        await tree.root.terminate_child("pool")
        assert tree.runtime.registry.names() == ["root"]


@pytest.mark.asyncio
async def test_45_many_children_start_and_stop_with_linear_work():
    """Counted in events, not in seconds: two events for each child, whatever the number."""
    for count in (100, 1_000):
        stage = Stage()
        async with manual_tree(pool(stage, RestartType.TEMPORARY)) as tree:
            sup = handle(tree)
            for arg in range(count):
                await sup.start_with(arg)
            assert (await sup.count_children()).active == count
            await tree.within(tree.root.terminate_child("pool"))
            assert len(tree.of(ChildStarted)) == count + 1
            assert len(tree.of(ChildExited)) == count + 1
            assert tree.runtime.registry.names() == ["root"]
