"""Starting, asking and stopping a supervisor: cases 1-15, 25, 40-44, 48-51 of OTP's suite.

Case 51 (external_start_no_progress_log) has no meaning here: starts are events of a bus, and
whoever wants no report does not subscribe.
"""

import asyncio

import pytest

from support.manual_tree import manual_tree
from support.puppets import IGNORE, Boom, Do, Puppet, Stage
from tradebox.supervision import spec as specs
from tradebox.supervision.actor import Actor, Context, Ignore, Stop
from tradebox.supervision.clock import ManualClock, settle
from tradebox.supervision.errors import ActorDown, NameTaken, StartFailed
from tradebox.supervision.events import ChildExited, ChildStarted
from tradebox.supervision.reasons import (
    Crash,
    FailedToStart,
    Hung,
    Killed,
    Normal,
    Shutdown,
    root_cause,
)
from tradebox.supervision.requests import (
    AlreadyPresent,
    AlreadyStarted,
    ChildCounts,
    ChildStatus,
    Done,
    Ignored,
    NotStarted,
    Refused,
    Started,
    SupervisorHandle,
    Why,
)
from tradebox.supervision.spec import (
    BRUTAL_KILL,
    INFINITY,
    AutoShutdown,
    Backoff,
    ChildSpec,
    ChildType,
    RestartType,
    SupFlags,
)
from tradebox.supervision.supervisor import Supervisor, nested
from tradebox.supervision.tree import Runtime

TEMPORARY, TRANSIENT = RestartType.TEMPORARY, RestartType.TRANSIENT


async def start_fails(root):
    runtime = Runtime(ManualClock())
    with pytest.raises(StartFailed) as caught:
        await runtime.start(root)
    assert not runtime.kernel.live_cells()
    assert runtime.registry.names() == []
    return caught.value.reason


@pytest.mark.asyncio
async def test_01_an_empty_supervisor_starts_and_stops_with_shutdown():
    async with manual_tree(nested("root")) as tree:
        assert await tree.within(tree.root.which_children()) == ()
        assert await tree.within(tree.runtime.stop()) == Shutdown()


@pytest.mark.asyncio
async def test_02_a_supervisor_that_ignores_is_no_process_and_no_failure():
    class Nothing(Supervisor):
        async def init(self, ctx: Context) -> object:
            raise Ignore

    sup = ChildSpec("sup", Nothing, type=ChildType.SUPERVISOR)
    async with manual_tree(nested("root", None, [sup])) as tree:
        assert tree.runtime.registry.whereis("sup") is None
        assert (await tree.within(tree.root.count_children())).active == 0
        assert tree.of(ChildExited) == []


@pytest.mark.asyncio
async def test_03_an_ignoring_child_keeps_its_spec_without_a_process():
    stage = Stage()
    stage.next_inits("a", IGNORE)
    async with manual_tree(nested("root", None, [stage.child("a")])) as tree:
        counts = await tree.within(tree.root.count_children())
        assert counts == ChildCounts(specs=1, active=0, supervisors=0, workers=1)
        again = await tree.within(tree.root.restart_child("a"))
        assert isinstance(again, Started)


@pytest.mark.asyncio
async def test_04_an_ignoring_temporary_child_loses_its_spec():
    stage = Stage()
    stage.next_inits("a", IGNORE)
    stage.next_inits("b", IGNORE)
    async with manual_tree(nested("root", None, [stage.child("a", TEMPORARY)])) as tree:
        answer = await tree.within(tree.root.start_child(stage.child("b", TEMPORARY)))
        assert answer == Ignored()
        assert (await tree.within(tree.root.count_children())).specs == 0


@pytest.mark.asyncio
@pytest.mark.parametrize("bad", [lambda: "no actor", lambda: 1 / 0, Puppet])
async def test_05_a_bad_start_fails_the_starter(bad):
    reason = await start_fails(nested("root", None, [ChildSpec("a", bad)]))
    assert isinstance(reason, Shutdown)
    assert isinstance(reason.detail, FailedToStart)
    assert reason.detail.child_id == "a"


@pytest.mark.asyncio
async def test_05_a_failing_init_stops_the_earlier_children_in_reverse():
    stage = Stage()
    stage.next_inits("c", Boom("c"))
    reason = await start_fails(nested("root", None, [stage.child(x) for x in "abcd"]))
    assert root_cause(reason) == Crash(Boom("c"))
    expected = ["start a", "start b", "fail c", "stop b shutdown", "stop a shutdown"]
    assert stage.took() == expected


@pytest.mark.asyncio
async def test_06_start_child_reports_the_error_and_stores_nothing():
    stage = Stage()
    stage.next_inits("a", Boom("a"))
    async with manual_tree(nested("root")) as tree:
        answer = await tree.within(tree.root.start_child(stage.child("a")))
        assert answer == NotStarted(Crash(Boom("a")))
        assert (await tree.within(tree.root.count_children())).specs == 0
        assert tree.runtime.registry.whereis("a") is None


@pytest.mark.asyncio
async def test_07_an_error_of_restart_child_leaves_the_spec_stopped():
    stage = Stage()
    async with manual_tree(nested("root", None, [stage.child("a")])) as tree:
        await tree.within(tree.root.terminate_child("a"))
        stage.next_inits("a", Boom("a"))
        assert isinstance(await tree.within(tree.root.restart_child("a")), NotStarted)
        (info,) = await tree.within(tree.root.which_children())
        assert (info.ref, info.status) == (None, ChildStatus.STOPPED)
        assert isinstance(await tree.within(tree.root.restart_child("a")), Started)


def test_08_defaults_are_otps():
    worker = ChildSpec("a", Actor)
    assert (worker.restart, worker.shutdown_wait) == (RestartType.PERMANENT, 5.0)
    assert nested("s").shutdown_wait == INFINITY
    flags = SupFlags()
    assert (flags.intensity, flags.period) == (1, 5.0)
    assert flags.auto_shutdown is AutoShutdown.NEVER


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"id": ""}, specs.IdInvalid),
        ({"id": 7}, specs.IdInvalid),
        ({"id": "a.b"}, specs.IdInvalid),
        ({"start": "no"}, specs.StartInvalid),
        ({"restart": "always"}, specs.RestartInvalid),
        ({"shutdown": -1}, specs.ShutdownInvalid),
        ({"shutdown": float("nan")}, specs.ShutdownInvalid),
        ({"shutdown": True}, specs.ShutdownInvalid),
        ({"type": "worker"}, specs.TypeInvalid),
        ({"significant": 1}, specs.SignificantInvalid),
        ({"significant": True}, specs.SignificantInvalid),
        ({"checkin": 0}, specs.CheckinInvalid),
        ({"init_timeout": -2.0}, specs.InitTimeoutInvalid),
        ({"backoff": 3}, specs.BackoffInvalid),
    ],
)
def test_09_each_bad_field_of_a_spec_has_its_own_error(fields, error):
    with pytest.raises(error):
        ChildSpec(**({"id": "a", "start": Actor} | fields))


@pytest.mark.parametrize(
    ("make", "error"),
    [
        (lambda: SupFlags(strategy="all"), specs.StrategyInvalid),
        (lambda: SupFlags(intensity=-1), specs.IntensityInvalid),
        (lambda: SupFlags(intensity=1.5), specs.IntensityInvalid),
        (lambda: SupFlags(period=0), specs.PeriodInvalid),
        (lambda: SupFlags(period=INFINITY), specs.PeriodInvalid),
        (lambda: SupFlags(auto_shutdown=True), specs.AutoShutdownInvalid),
        (lambda: Backoff(initial_s=0), specs.BackoffInvalid),
        (lambda: Backoff(initial_s=2, max_s=1), specs.BackoffInvalid),
        (lambda: Backoff(max_s=INFINITY), specs.BackoffInvalid),
        (lambda: Backoff(jitter=1.1), specs.BackoffInvalid),
        (lambda: Backoff(reset_s=-1), specs.BackoffInvalid),
    ],
)
def test_09_each_bad_flag_has_its_own_error(make, error):
    with pytest.raises(error):
        make()


def test_09_duplicate_ids_and_pointless_significance_are_refused():
    twice = [ChildSpec("a", Actor), ChildSpec("a", Actor)]
    with pytest.raises(specs.IdTaken):
        Supervisor(None, twice)
    with pytest.raises(specs.SignificantInvalid):
        Supervisor(None, [ChildSpec("a", Actor, TRANSIENT, significant=True)])


@pytest.mark.asyncio
async def test_09_a_supervisor_declared_as_worker_is_refused():
    reason = await start_fails(nested("root", None, [ChildSpec("s", Supervisor)]))
    assert isinstance(root_cause(reason).error, specs.TypeInvalid)


@pytest.mark.asyncio
async def test_10_shutdown_infinity_waits_as_long_as_needed():
    stage = Stage(ends={"a": 3_000.0})
    async with manual_tree(nested("root", None, [stage.child("a", shutdown=INFINITY)])) as tree:
        await tree.within(tree.runtime.stop(), 4_000)
        assert tree.of(ChildExited)[-1].reason == Shutdown()
        assert tree.clock.now() >= 3_000


@pytest.mark.asyncio
async def test_11_a_slow_child_ends_killed_and_a_prompt_one_shutdown():
    stage = Stage(ends={"slow": 10.0, "prompt": 0.5})
    children = [stage.child("prompt", shutdown=1.0), stage.child("slow", shutdown=1.0)]
    async with manual_tree(nested("root", None, children)) as tree:
        await tree.within(tree.runtime.stop())
        ends = {event.child_id: event.reason for event in tree.of(ChildExited)}
        assert ends == {"slow": Killed(), "prompt": Shutdown()}
        assert 1.5 <= tree.clock.now() < 1.6


@pytest.mark.asyncio
async def test_12_a_brutal_kill_runs_no_terminate():
    stage = Stage()
    async with manual_tree(nested("root", None, [stage.child("a", shutdown=BRUTAL_KILL)])) as tree:
        await tree.within(tree.root.terminate_child("a"))
        assert tree.of(ChildExited)[-1].reason == Killed()
    assert stage.took() == ["start a"]


@pytest.mark.asyncio
async def test_13_children_are_administered_with_every_refusal():
    stage = Stage()
    async with manual_tree(nested("root", None, [stage.child("a")])) as tree:
        ask, root = tree.within, tree.root
        ref = tree.ref("a")
        assert await ask(root.start_child(stage.child("a"))) == AlreadyStarted(ref)
        assert await ask(root.restart_child("a")) == Refused(Why.RUNNING)
        assert await ask(root.delete_child("a")) == Refused(Why.RUNNING)
        for call in (root.terminate_child, root.restart_child, root.delete_child):
            assert (await ask(call("nobody"))).why is Why.NOT_FOUND
        assert (await ask(root.get_child_spec("nobody"))).why is Why.NOT_FOUND
        assert (await ask(root.get_child_spec("a"))).id == "a"
        assert await ask(root.terminate_child("a")) == Done()
        assert await ask(root.terminate_child("a")) == Done()
        assert await ask(root.start_child(stage.child("a"))) == AlreadyPresent()
        restarted = await ask(root.restart_child("a"))
        assert restarted.ref.alive
        assert restarted.ref != ref
        await ask(root.terminate_child("a"))
        assert await ask(root.delete_child("a")) == Done()
        assert isinstance(await ask(root.start_child(stage.child("a"))), Started)


@pytest.mark.asyncio
async def test_13_an_unknown_question_and_a_bad_spec_are_refused_not_fatal():
    async with manual_tree(nested("root")) as tree:
        assert (await tree.within(tree.runtime.root.ask("?"))).why is Why.UNKNOWN
        significant = ChildSpec("a", Actor, TRANSIENT, significant=True)
        assert (await tree.within(tree.root.start_child(significant))).why is Why.SPEC_INVALID
        assert (await tree.within(tree.root._ask(_no_spec()))).why is Why.SPEC_INVALID


def _no_spec():
    from tradebox.supervision.requests import StartChild

    return StartChild(None)


@pytest.mark.asyncio
async def test_15_the_info_of_init_is_passed_on():
    stage = Stage()
    stage.next_inits("a", "info")
    async with manual_tree(nested("root")) as tree:
        answer = await tree.within(tree.root.start_child(stage.child("a")))
        assert answer.info == "info"


@pytest.mark.asyncio
async def test_25_a_nested_failure_reaches_the_top_with_its_cause():
    stage = Stage()
    stage.next_inits("c", Boom("c"))
    root = nested("root", None, [nested("s", None, [nested("t", None, [stage.child("c")])])])
    reason = await start_fails(root)
    assert str(reason).count("failed to start") == 3
    assert root_cause(reason) == Crash(Boom("c"))


@pytest.mark.asyncio
async def test_40_a_child_that_unlinked_does_not_hang_its_supervisor():
    """No child can unlink from its supervisor here; what remains: it ends while being asked to."""

    class Leaver(Puppet):
        async def terminate(self, reason):
            await super().terminate(reason)
            raise Stop(Normal())

    stage = Stage()
    spec = ChildSpec("a", lambda: Leaver(stage, "a"))
    async with manual_tree(nested("root", None, [spec])) as tree:
        assert await tree.within(tree.root.terminate_child("a")) == Done()


@pytest.mark.asyncio
async def test_41_a_restarted_subtree_loses_dynamic_children_and_keeps_static_ones():
    stage = Stage()
    sub = nested("sub", None, [stage.child("kept")])
    async with manual_tree(nested("root", None, [sub])) as tree:
        handle = SupervisorHandle(tree.runtime.registry.via("sub"))
        await tree.within(handle.start_child(stage.child("added")))
        tree.runtime.kernel.kill(tree.ref("sub")._cell)
        await tree.run(1)
        names = [info.id for info in await tree.within(handle.which_children())]
        assert names == ["kept"]
        assert tree.runtime.registry.whereis("sub.added") is None


@pytest.mark.asyncio
async def test_42_counts_tell_supervisors_from_workers():
    stage = Stage()
    children = [stage.child("a"), nested("s"), stage.child("b")]
    async with manual_tree(nested("root", None, children)) as tree:
        await tree.within(tree.root.terminate_child("b"))
        counts = await tree.within(tree.root.count_children())
        assert counts == ChildCounts(specs=3, active=2, supervisors=1, workers=2)


@pytest.mark.asyncio
async def test_43_a_restarting_child_is_not_active():
    stage = Stage()
    child = stage.child("a", backoff=Backoff(initial_s=1.0, jitter=0.0))
    async with manual_tree(nested("root", None, [child])) as tree:
        tree.ref("a").tell(Do("crash"))
        await tree.run(0.5)
        (info,) = await tree.within(tree.root.which_children())
        assert info.status is ChildStatus.RESTARTING
        assert (await tree.within(tree.root.count_children())).active == 0
        assert (await tree.within(tree.root.restart_child("a"))).why is Why.RESTARTING
        assert (await tree.within(tree.root.delete_child("a"))).why is Why.RESTARTING
        await tree.run(1.0)
        assert (await tree.within(tree.root.count_children())).active == 1


@pytest.mark.asyncio
@pytest.mark.parametrize("scope", list(specs.RestartScope))
@pytest.mark.parametrize("end", [Do("crash"), Do("stop"), Do("stop", Shutdown())])
async def test_44_the_spec_of_a_temporary_child_is_forgotten_however_it_ends(scope, end):
    stage = Stage()
    async with manual_tree(nested("root", SupFlags(scope))) as tree:
        await tree.within(tree.root.start_child(stage.child("a", TEMPORARY)))
        tree.ref("a").tell(end)
        await tree.run()
        assert await tree.within(tree.root.which_children()) == ()
        await tree.within(tree.root.start_child(stage.child("a", TEMPORARY)))
        await tree.within(tree.root.terminate_child("a"))
        assert await tree.within(tree.root.which_children()) == ()


@pytest.mark.asyncio
async def test_48_start_and_stop_order_is_exact_through_the_tree():
    stage = Stage()
    inner = nested("s", None, map(stage.child, "bc"))
    root = nested("root", None, [stage.child("a"), inner, stage.child("d")])
    async with manual_tree(root):
        assert stage.took() == ["start a", "start b", "start c", "start d"]
    assert stage.took() == [f"stop {x} shutdown" for x in "dcba"]


@pytest.mark.asyncio
async def test_49_a_name_held_outside_the_supervisor_fails_the_start():
    stage = Stage()
    async with manual_tree(nested("root", None, [stage.child("a")])) as tree:
        tree.runtime.registry.register("b", tree.ref("a"))
        answer = await tree.within(tree.root.start_child(stage.child("b")))
        assert isinstance(answer.reason.error, NameTaken)
        assert tree.ref("b").name == "a"


@pytest.mark.asyncio
async def test_50_which_children_lists_in_start_order():
    stage = Stage()
    async with manual_tree(nested("root", None, [stage.child("a"), nested("s")])) as tree:
        rows = await tree.within(tree.root.which_children())
        assert [(row.id, row.type) for row in rows] == [
            ("a", ChildType.WORKER),
            ("s", ChildType.SUPERVISOR),
        ]
        assert rows[0].ref == tree.ref("a")


@pytest.mark.asyncio
async def test_an_init_over_its_limit_is_killed_and_reported():
    stage = Stage()
    stage.next_inits("a", "hang")
    async with manual_tree(nested("root")) as tree:
        answer = await tree.within(tree.root.start_child(stage.child("a", init_timeout=2.0)))
        assert answer == NotStarted(Hung("init"))
        assert 2.0 <= tree.clock.now() < 2.1


@pytest.mark.asyncio
async def test_a_dead_supervisor_answers_actor_down():
    async with manual_tree(nested("root")) as tree:
        root = tree.root
        await tree.within(tree.runtime.stop())
        with pytest.raises(ActorDown):
            await root.which_children()
        assert len(tree.of(ChildStarted)) == 0
    await settle()
    assert not [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
