"""Restart types, scopes and intensity: cases 16-35 and 47 of OTP's suite."""

import pytest

from support.manual_tree import manual_tree
from support.puppets import Boom, Do, Stage
from tradebox.supervision.events import (
    ChildExited,
    ChildHalted,
    ChildRestarting,
    ChildStarted,
    IntensityReached,
)
from tradebox.supervision.gate import EpochGate
from tradebox.supervision.kernel import Verdict
from tradebox.supervision.reasons import Crash, Hung, Normal, Shutdown
from tradebox.supervision.requests import AlreadyDone, ChildStatus, Started, Why
from tradebox.supervision.spec import Backoff, RestartScope, RestartType, SupFlags
from tradebox.supervision.supervisor import Supervisor, nested

PERMANENT, TRANSIENT, TEMPORARY = RestartType
ONE, REST, ALL = RestartScope

NORMAL, SHUTDOWN, ABNORMAL = Do("stop"), Do("stop", Shutdown()), Do("crash")


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("case", "restart", "end", "after"),
    [
        (16, PERMANENT, NORMAL, "restarted"),
        (17, PERMANENT, SHUTDOWN, "restarted"),
        (18, PERMANENT, ABNORMAL, "restarted"),
        (19, TRANSIENT, NORMAL, "kept"),
        (20, TRANSIENT, SHUTDOWN, "kept"),
        (21, TRANSIENT, ABNORMAL, "restarted"),
        (22, TEMPORARY, NORMAL, "forgotten"),
        (23, TEMPORARY, SHUTDOWN, "forgotten"),
        (24, TEMPORARY, ABNORMAL, "forgotten"),
    ],
)
async def test_16_to_24_restart_types_follow_the_reason(case, restart, end, after):
    stage = Stage()
    async with manual_tree(nested("root", None, [stage.child("a", restart)])) as tree:
        first = tree.ref("a")
        first.tell(end)
        await tree.run()
        rows = await tree.within(tree.root.which_children())
        if after == "forgotten":
            assert rows == ()
        elif after == "kept":
            assert [row.status for row in rows] == [ChildStatus.STOPPED]
        else:
            assert rows[0].ref.incarnation > first.incarnation
        assert not first.alive


@pytest.mark.asyncio
@pytest.mark.parametrize("scope", [REST, ALL])
async def test_26_a_temporary_bystander_is_not_revived(scope):
    stage = Stage()
    children = [stage.child("a"), stage.child("b", TEMPORARY)]
    async with manual_tree(nested("root", SupFlags(scope), children)) as tree:
        tree.ref("a").tell(Do("crash"))
        await tree.run()
        assert [row.id for row in await tree.within(tree.root.which_children())] == ["a"]


@pytest.mark.asyncio
async def test_27_spaced_failures_never_escalate():
    stage = Stage()
    flags = SupFlags(intensity=1, period=1.0)
    async with manual_tree(nested("root", flags, [stage.child("a")])) as tree:
        for _ in range(20):
            tree.ref("a").tell(Do("crash"))
            await tree.run(1.001)
        assert tree.runtime.root.alive


@pytest.mark.asyncio
async def test_28_one_for_one_restarts_only_the_failed_one_up_to_its_limit():
    stage = Stage()
    flags = SupFlags(ONE, intensity=2, period=5.0)
    async with manual_tree(nested("root", flags, map(stage.child, "abc"))) as tree:
        stage.took()
        for _ in range(2):
            tree.ref("b").tell(Do("crash"))
            await tree.run()
        crash = f"stop b {Crash(Boom('b'))}"
        assert stage.took() == [crash, "start b", crash, "start b"]
        tree.ref("b").tell(Do("crash"))
        await tree.run()
        assert tree.runtime.root.reason == Shutdown("intensity")
        assert stage.took() == [crash, "stop c shutdown", "stop a shutdown"]
        assert len(tree.of(IntensityReached)) == 1


@pytest.mark.asyncio
@pytest.mark.parametrize(("case", "scope"), [(29, ONE), (31, ALL), (34, REST)])
async def test_29_31_34_a_restart_that_keeps_failing_escalates(case, scope):
    stage = Stage()
    flags = SupFlags(scope, intensity=4, period=3_600.0)
    async with manual_tree(nested("root", flags, map(stage.child, "abc"))) as tree:
        stage.next_inits("b", *[Boom("b")] * 100)
        tree.ref("b").tell(Do("crash"))
        await tree.run()
        assert not tree.runtime.root.alive
        assert stage.trace.count("fail b") == 4
        assert tree.runtime.registry.names() == []


@pytest.mark.asyncio
async def test_30_one_for_all_leaves_nobody_old():
    stage = Stage()
    async with manual_tree(nested("root", SupFlags(ALL), map(stage.child, "abc"))) as tree:
        old = [tree.ref(x) for x in "abc"]
        stage.took()
        old[1].tell(Do("crash"))
        await tree.run()
        assert not any(ref.alive for ref in old)
        assert stage.took() == [
            f"stop b {Crash(Boom('b'))}",
            "stop c shutdown",
            "stop a shutdown",
            "start a",
            "start b",
            "start c",
        ]


@pytest.mark.asyncio
async def test_32_one_for_all_starts_over_when_another_child_fails_to_restart():
    stage = Stage()
    flags = SupFlags(ALL, intensity=3, period=3_600.0)
    async with manual_tree(nested("root", flags, map(stage.child, "ab"))) as tree:
        stage.took()
        stage.next_inits("b", Boom("b"))
        tree.ref("a").tell(Do("crash"))
        await tree.run()
        assert stage.took()[1:] == [
            "stop b shutdown",
            "start a",
            "fail b",
            "stop a shutdown",
            "start a",
            "start b",
        ]


@pytest.mark.asyncio
async def test_33_rest_for_one_leaves_the_earlier_ones_untouched():
    stage = Stage()
    async with manual_tree(nested("root", SupFlags(REST), map(stage.child, "abcd"))) as tree:
        first = tree.ref("a")
        stage.took()
        tree.ref("b").tell(Do("crash"))
        await tree.run()
        assert first.alive
        assert stage.took()[1:] == [
            "stop d shutdown",
            "stop c shutdown",
            "start b",
            "start c",
            "start d",
        ]


@pytest.mark.asyncio
async def test_35_rest_for_one_resumes_at_the_child_that_failed():
    stage = Stage()
    flags = SupFlags(REST, intensity=3, period=3_600.0)
    async with manual_tree(nested("root", flags, map(stage.child, "abc"))) as tree:
        stage.took()
        stage.next_inits("b", Boom("b"))
        tree.ref("a").tell(Do("crash"))
        await tree.run()
        assert stage.took()[1:] == [
            "stop c shutdown",
            "stop b shutdown",
            "start a",
            "fail b",
            "start b",
            "start c",
        ]


@pytest.mark.asyncio
async def test_a_stopped_spec_is_started_again_by_a_group_restart():
    stage = Stage()
    async with manual_tree(nested("root", SupFlags(ALL), map(stage.child, "ab"))) as tree:
        await tree.within(tree.root.terminate_child("b"))
        tree.ref("a").tell(Do("crash"))
        await tree.run()
        assert tree.ref("b").alive


@pytest.mark.asyncio
@pytest.mark.parametrize("scope", list(RestartScope))
async def test_47_child_and_supervisor_can_be_stopped_inside_a_restart_loop(scope):
    stage = Stage()
    flags = SupFlags(scope, intensity=1_000_000, period=3_600.0)

    async def loops(tree, supervisor):
        stage.next_inits("b", *[Boom("b")] * 100_000)
        supervisor.tell(Do("crash"))
        for _ in range(50):
            await tree.runtime.events.subscribe().get()

    inner = nested("sup", flags, map(stage.child, "ab"))
    async with manual_tree(nested("root", None, [inner])) as tree:
        await loops(tree, tree.ref("sup.b"))
        from tradebox.supervision.requests import SupervisorHandle

        sup = SupervisorHandle(tree.ref("sup"))
        assert (await sup.restart_child("b")).why is Why.RESTARTING
        assert (await sup.which_children())[1].status is ChildStatus.RESTARTING
        await sup.terminate_child("b")
        stage.inits["b"].clear()
        await tree.run()
        assert isinstance(await tree.within(sup.restart_child("b")), Started)
        await loops(tree, tree.ref("sup.b"))
        await tree.root.terminate_child("sup")
        assert tree.runtime.registry.names() == ["root"]


@pytest.mark.asyncio
async def test_a_transient_supervisor_that_escalates_is_not_restarted():
    stage = Stage()
    inner = nested("s", SupFlags(intensity=0), [stage.child("a")], restart=TRANSIENT)
    async with manual_tree(nested("root", None, [inner])) as tree:
        tree.ref("s.a").tell(Do("crash"))
        await tree.run()
        (row,) = await tree.within(tree.root.which_children())
        assert row.status is ChildStatus.STOPPED


@pytest.mark.asyncio
async def test_a_backoff_waits_longer_each_time_never_escalates_and_resets():
    stage = Stage()
    backoff = Backoff(initial_s=1.0, max_s=4.0, jitter=0.0, reset_s=10.0)
    flags = SupFlags(intensity=0)
    async with manual_tree(nested("root", flags, [stage.child("a", backoff=backoff)])) as tree:
        for wait in (1.0, 2.0, 4.0, 4.0):
            tree.ref("a").tell(Do("crash"))
            await tree.run(wait - 0.01)
            assert tree.runtime.registry.whereis("a") is None
            await tree.run(0.01)
            assert tree.ref("a").alive
        await tree.run(10.0)
        tree.ref("a").tell(Do("crash"))
        await tree.run()
        assert [event.delay_s for event in tree.of(ChildRestarting)] == [1, 2, 4, 4, 1]


@pytest.mark.asyncio
async def test_a_child_with_a_backoff_that_fails_to_start_does_not_fail_its_supervisor():
    stage = Stage()
    stage.next_inits("b", Boom("b"), Boom("b"))
    backoff = Backoff(initial_s=1.0, max_s=9.0, jitter=0.0)
    children = [stage.child("a"), stage.child("b", backoff=backoff), stage.child("c")]
    async with manual_tree(nested("root", SupFlags(REST), children)) as tree:
        assert tree.ref("c").alive
        await tree.run(0.9)
        assert tree.runtime.registry.whereis("b") is None
        await tree.run(5.0)
        assert tree.ref("b").alive
        assert tree.ref("c").alive


@pytest.mark.asyncio
async def test_a_fault_that_halts_is_not_restarted_until_somebody_orders_it():
    def rule(reason):
        halt = isinstance(reason, Crash) and isinstance(reason.error, Boom)
        return Verdict.HALT if halt else Verdict.RESTART

    stage = Stage()
    async with manual_tree(nested("root", None, [stage.child("a")]), rule=rule) as tree:
        tree.ref("a").tell(Do("crash"))
        await tree.run(60)
        (row,) = await tree.within(tree.root.which_children())
        assert row.status is ChildStatus.HALTED
        assert len(tree.of(ChildHalted)) == 1
        assert isinstance(await tree.within(tree.root.restart_child("a")), Started)
        tree.ref("a").tell(Do("stop"))
        stage.next_inits("a", Boom("a"))
        await tree.run(60)
        assert len(tree.of(ChildHalted)) == 2


@pytest.mark.asyncio
async def test_a_named_incarnation_is_replaced_once_and_an_old_token_refused():
    stage = Stage()
    async with manual_tree(nested("root", SupFlags(intensity=9), [stage.child("a")])) as tree:
        old = tree.ref("a").incarnation
        tree.ref("a").tell(Do("hang"))
        answer = await tree.within(tree.root.restart_child("a", old, token=5))
        assert isinstance(answer, Started)
        assert tree.of(ChildExited)[-1].reason == Hung("probe")
        again = await tree.within(tree.root.restart_child("a", old, token=5))
        assert again == AlreadyDone(answer.ref)
        stale = await tree.within(tree.root.restart_child("a", answer.ref.incarnation, token=4))
        assert stale.why is Why.STALE_TOKEN
        assert len(tree.of(ChildStarted)) == 2
        await tree.within(tree.root.terminate_child("a"))


@pytest.mark.asyncio
async def test_with_a_gate_only_the_current_epoch_may_restart():
    stage, gate = Stage(), EpochGate()
    root = nested("root", None, [stage.child("a")], gate)
    async with manual_tree(root) as tree:
        old, new = gate.acquire("one"), gate.acquire("two")
        seen = tree.ref("a").incarnation
        refused = await tree.within(tree.root.restart_child("a", seen, old))
        assert refused.why is Why.STALE_TOKEN
        assert isinstance(await tree.within(tree.root.restart_child("a", seen, new)), Started)


@pytest.mark.asyncio
async def test_a_silent_child_is_killed_by_its_check_in_limit_and_restarted():
    stage = Stage()
    async with manual_tree(nested("root", None, [stage.child("a", checkin=1.0)])) as tree:
        await tree.run(100)
        first = tree.ref("a")
        first.tell(Do("hang"))
        await tree.run(1.1)
        assert first.reason == Hung("checkin")
        assert tree.ref("a").alive
        assert tree.of(ChildExited)[0].reason == Hung("checkin")


@pytest.mark.asyncio
async def test_a_normal_end_of_a_permanent_child_restarts_it_and_is_told():
    stage = Stage()
    async with manual_tree(nested("root", None, [stage.child("a")])) as tree:
        tree.ref("a").tell(Do("stop"))
        await tree.run()
        assert tree.of(ChildExited)[0].reason == Normal()
        (row,) = [row for row in tree.runtime.rows() if row.name == "a"]
        assert (row.restarts, row.last_reason, row.state) == (1, "normal", "running")
        assert isinstance(tree.runtime.root._cell.actor, Supervisor)
