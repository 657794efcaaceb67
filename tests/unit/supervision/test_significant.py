"""Significant children and automatic shutdown: cases 52-58 of OTP's suite."""

import pytest

from support.manual_tree import manual_tree
from support.puppets import Do, Stage
from tradebox.supervision.dynamic import DynamicSupervisor
from tradebox.supervision.reasons import Shutdown
from tradebox.supervision.requests import SupervisorHandle
from tradebox.supervision.spec import (
    AutoShutdown,
    ChildSpec,
    ChildType,
    RestartScope,
    RestartType,
    SupFlags,
)
from tradebox.supervision.supervisor import nested

PERMANENT, TRANSIENT, TEMPORARY = RestartType
NEVER, ANY, EVERY = AutoShutdown
AUTO = Shutdown("auto_shutdown")


def sup(mode, *children, scope=RestartScope.ONE_FOR_ONE, intensity=5):
    return nested("root", SupFlags(scope, intensity, auto_shutdown=mode), children)


async def ended(tree, name, end="stop"):
    tree.ref(name).tell(Do(end))
    await tree.run()
    return tree.runtime.root.reason


@pytest.mark.asyncio
@pytest.mark.parametrize("mode", [ANY, EVERY])
@pytest.mark.parametrize(("case", "restart"), [(52, TEMPORARY), (53, TRANSIENT)])
async def test_52_53_the_end_of_an_insignificant_child_changes_nothing(case, restart, mode):
    stage = Stage()
    significant = stage.child("s", TRANSIENT, significant=True)
    async with manual_tree(sup(mode, stage.child("a", restart), significant)) as tree:
        assert await ended(tree, "a") is None


@pytest.mark.asyncio
@pytest.mark.parametrize("end", ["stop", "crash"])
async def test_54_a_significant_temporary_child_ends_its_supervisor_however_it_ends(end):
    stage = Stage()
    child = stage.child("s", TEMPORARY, significant=True)
    async with manual_tree(sup(ANY, child, stage.child("other"))) as tree:
        assert await ended(tree, "s", end) == AUTO
        assert stage.trace[-1] == "stop other shutdown"


@pytest.mark.asyncio
async def test_54_all_significant_waits_for_the_last_one():
    stage = Stage()
    children = [stage.child(x, TEMPORARY, significant=True) for x in "st"]
    async with manual_tree(sup(EVERY, *children)) as tree:
        assert await ended(tree, "s") is None
        assert await ended(tree, "t") == AUTO


@pytest.mark.asyncio
async def test_55_a_significant_transient_child_counts_only_when_it_is_not_restarted():
    stage = Stage()
    async with manual_tree(sup(ANY, stage.child("s", TRANSIENT, significant=True))) as tree:
        assert await ended(tree, "s", "crash") is None
        assert await ended(tree, "s") == AUTO


@pytest.mark.asyncio
async def test_55_terminate_child_does_not_end_the_supervisor():
    stage = Stage()
    async with manual_tree(sup(ANY, stage.child("s", TRANSIENT, significant=True))) as tree:
        await tree.within(tree.root.terminate_child("s"))
        assert tree.runtime.root.alive


@pytest.mark.asyncio
@pytest.mark.parametrize(("mode", "left"), [(ANY, 0), (EVERY, 1)])
async def test_56_dynamic_significant_children(mode, left):
    stage = Stage()
    template = stage.child("p", TEMPORARY, significant=True)
    flags = SupFlags(auto_shutdown=mode)
    spec = ChildSpec(
        "pool",
        lambda: DynamicSupervisor(flags, template),
        TRANSIENT,
        type=ChildType.SUPERVISOR,
    )
    async with manual_tree(nested("root", None, [spec])) as tree:
        pool = tree.ref("pool")
        for arg in range(2):
            await tree.within(SupervisorHandle(pool).start_with(arg))
        tree.ref("pool.1").tell(Do("stop"))
        await tree.run()
        assert pool.alive is bool(left)
        if left:
            tree.ref("pool.2").tell(Do("stop"))
            await tree.run()
        assert pool.reason == AUTO


@pytest.mark.asyncio
async def test_57_a_significant_bystander_of_a_group_restart_does_not_end_the_supervisor():
    stage = Stage()
    bystander = stage.child("s", TEMPORARY, significant=True)
    tree_spec = sup(ANY, stage.child("a"), bystander, scope=RestartScope.ONE_FOR_ALL)
    async with manual_tree(tree_spec) as tree:
        assert await ended(tree, "a", "crash") is None
        assert [row.id for row in await tree.within(tree.root.which_children())] == ["a"]


@pytest.mark.asyncio
async def test_58_escalation_goes_before_automatic_shutdown():
    stage = Stage()
    child = stage.child("s", TRANSIENT, significant=True)
    async with manual_tree(sup(ANY, child, intensity=0)) as tree:
        assert await ended(tree, "s", "crash") == Shutdown("intensity")
