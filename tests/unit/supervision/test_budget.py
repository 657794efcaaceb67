"""Budgets and ranks: who holds the loop too long is cut off, who is patient lets others go."""

import asyncio
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.manual_tree import manual_tree
from tradebox.supervision.actor import Actor
from tradebox.supervision.budget import MESSAGES, OVERRUNS_MAX, Budget
from tradebox.supervision.errors import BudgetSpent
from tradebox.supervision.events import ChildExited
from tradebox.supervision.reasons import Crash
from tradebox.supervision.spec import BudgetInvalid, ChildSpec, Rank, RankInvalid
from tradebox.supervision.supervisor import nested


class Cpu:
    """CPU time that goes by when told to."""

    def __init__(self):
        self.now_s = 0.0

    def __call__(self):
        return self.now_s

    async def burn(self, seconds):
        self.now_s += seconds
        await asyncio.sleep(0)


@given(st.lists(st.booleans(), max_size=120))
def test_the_third_overrun_among_thirty_cuts_off_and_nothing_else(long_ones):
    cpu = Cpu()
    budget = Budget("a", 0.025, cpu)

    async def run():
        for number, is_long in enumerate(long_ones):
            recent = long_ones[max(0, number - MESSAGES + 1) : number + 1]
            is_too_many = is_long and sum(recent) >= OVERRUNS_MAX
            try:
                await budget.run(cpu.burn(0.05 if is_long else 0.02))
            except BudgetSpent:
                assert is_too_many
                return
            assert not is_too_many

    asyncio.run(run())


@pytest.mark.asyncio
async def test_what_others_do_meanwhile_does_not_count():
    cpu = Cpu()
    budget = Budget("a", 0.025, cpu)
    other = asyncio.get_running_loop().create_task(cpu.burn(5.0))

    async def patient():
        await cpu.burn(0.01)
        await other
        await cpu.burn(0.01)

    await budget.run(patient())
    assert budget.worst_s == pytest.approx(0.02)


@pytest.mark.asyncio
async def test_errors_and_cancellations_pass_both_ways():
    budget = Budget("a", 1.0)
    seen = []

    async def handler():
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            seen.append("cancelled")
            raise

    task = asyncio.get_running_loop().create_task(budget.run(handler()))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert seen == ["cancelled"]

    async def broken():
        raise KeyError("x")

    with pytest.raises(KeyError):
        await budget.run(broken())


class Burner(Actor):
    """Burns real CPU for each message."""

    def __init__(self):
        self.handled = 0

    async def handle(self, msg):
        self.handled += 1
        began = time.thread_time()
        while time.thread_time() - began < msg:
            pass


@pytest.mark.asyncio
async def test_a_burning_actor_is_restarted_with_its_third_message():
    made = []

    def start():
        made.append(Burner())
        return made[-1]

    async with manual_tree(nested("root", None, [ChildSpec("a", start, budget=0.01)])) as tree:
        for _ in range(5):
            tree.ref("a").tell(0.02)
        await tree.run(0.1)
        assert made[0].handled == OVERRUNS_MAX
        ended = tree.of(ChildExited)[0]
        assert isinstance(ended.reason, Crash)
        assert isinstance(ended.reason.error, BudgetSpent)
        assert tree.ref("a").alive


class Teller(Actor):
    """Notes each message, and wakes who it is told to while it works."""

    def __init__(self, name, seen, wake=None):
        self.name, self.seen, self.wake = name, seen, wake

    async def handle(self, msg):
        self.seen.append(f"{self.name}{msg}")
        if self.wake is not None:
            self.wake(msg)


def wake_live(tree):
    return lambda msg: tree[0].ref("live").tell(msg) if tree else None


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("rank", "order"),
    [(Rank.PATIENT, ["p0", "l0", "p1", "l1", "p2", "l2"]), (Rank.NORMAL, None)],
)
async def test_a_patient_actor_goes_after_an_urgent_one(rank, order):
    seen, held = [], []
    specs = [
        ChildSpec("live", lambda: Teller("l", seen), rank=Rank.URGENT),
        ChildSpec("paper", lambda: Teller("p", seen, wake_live(held)), rank=rank),
    ]
    async with manual_tree(nested("root", None, specs)) as tree:
        held.append(tree)
        for number in range(3):
            tree.ref("paper").tell(number)
        await tree.run(0.1)
        assert sorted(seen) == ["l0", "l1", "l2", "p0", "p1", "p2"]
        assert seen == (order or ["p0", "p1", "p2", "l0", "l1", "l2"])


@pytest.mark.parametrize("wrong", [0, -1, "a", True])
def test_a_wrong_budget_is_refused(wrong):
    with pytest.raises(BudgetInvalid):
        ChildSpec("a", Burner, budget=wrong)


def test_a_wrong_rank_is_refused():
    with pytest.raises(RankInvalid):
        ChildSpec("a", Burner, rank="urgent")
