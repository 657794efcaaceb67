"""Each harm does to an actor what it says, and the tree heals it."""

import pytest

from support.manual_tree import manual_tree
from support.puppets import Stage
from tradebox.supervision.clock import settle
from tradebox.supervision.events import ChildAbandoned, ChildExited
from tradebox.supervision.harm import Harm, Harmed, harm
from tradebox.supervision.reasons import Abandoned, Crash, Hung, Killed
from tradebox.supervision.spec import SupFlags
from tradebox.supervision.supervisor import nested

REASONS = {
    Harm.CRASH: Crash(Harmed("crash")),
    Harm.KILL: Killed(),
    Harm.HANG: Hung("checkin"),
    Harm.DEAF: Abandoned(),
}


@pytest.mark.asyncio
@pytest.mark.parametrize("kind", REASONS, ids=lambda kind: kind.value)
async def test_the_harmed_child_ends_as_it_should_and_is_back(kind):
    stage = Stage()
    spec = nested("root", SupFlags(), [stage.child("a", checkin=1.0), stage.child("b")])
    async with manual_tree(spec) as tree:
        old, bystander = tree.ref("a"), tree.ref("b")
        assert harm(tree.runtime.kernel, "a", kind) == old.incarnation
        await tree.run(3.0)
        assert str(tree.of(ChildExited)[0].reason) == str(REASONS[kind])
        assert tree.ref("a").incarnation > old.incarnation
        assert tree.ref("b") == bystander
        assert len(tree.of(ChildAbandoned)) == (kind is Harm.DEAF)
        assert tree.runtime.kernel.zombies == (kind is Harm.DEAF)
        for task in list(tree.runtime.kernel._zombies):
            task.get_coro().close()
        tree.runtime.kernel._zombies.clear()
        await settle()


@pytest.mark.asyncio
async def test_a_burning_child_does_its_work_until_its_budget_is_spent():
    stage = Stage()
    spec = nested("root", SupFlags(), [stage.child("a", budget=0.025)])
    async with manual_tree(spec) as tree:
        old = tree.ref("a")
        harm(tree.runtime.kernel, "a", Harm.BURN)
        old.tell("one")
        await tree.run(0.1)
        assert stage.made[0].heard == ["one"]
        assert old.alive
        old.tell("two")
        await tree.run(0.1)
        assert stage.made[0].heard == ["one", "two"]
        assert not old.alive
        assert "50 ms of 25 ms" in str(tree.of(ChildExited)[0].reason)


@pytest.mark.asyncio
async def test_nobody_of_that_name_is_told():
    async with manual_tree(nested("root", None, [])) as tree:
        assert harm(tree.runtime.kernel, "a", Harm.CRASH) is None
