"""The keepers of the stores on a manual clock: degraded starts, lost rows counted, ordered ends."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.manual_tree import manual_tree, run_seeded
from tradebox.actors import journal as journal_module
from tradebox.actors.bus import BusActor
from tradebox.actors.journal import JournalActor
from tradebox.actors.store_keeper import PROBE_DOWN_S, PROBE_UP_S, StoreFigures
from tradebox.domain.events import AlertRaised, LinkChanged, StoreChanged
from tradebox.errors import BusUnavailable, StoreUnavailable
from tradebox.ports.journal import RunOpened
from tradebox.supervision.clock import settle
from tradebox.supervision.spec import ChildSpec, SupFlags
from tradebox.supervision.supervisor import nested

RUN = RunOpened("run-1", 1, "sim", "0")


class MarketTime:
    speed = 1.0

    def now_ns(self):
        return 77


class Link:
    """A store that the test switches on and off."""

    name = "postgres"
    error = StoreUnavailable

    def __init__(self, *, is_up=False):
        self.switch = is_up
        self.is_up = False
        self.calls, self.rows = [], []
        self.fail_after = None

    def _reach(self):
        self.is_up = self.switch
        if not self.switch:
            raise self.error("away", reason="away")

    async def probe(self):
        self.calls.append("probe")
        self._reach()

    async def close(self):
        self.calls.append("close")

    async def open_run(self, run):
        assert run == RUN
        self._reach()
        self.calls.append("open_run")

    async def close_run(self):
        self._reach()
        self.calls.append("close_run")

    async def record(self, rows):
        if self.fail_after is not None:
            self.fail_after -= 1
            if self.fail_after < 0:
                self.switch = False
        self._reach()
        self.rows.extend(rows)


class BusLink(Link):
    name = "redis"
    error = BusUnavailable


def tree_of(link, kind=JournalActor):
    def start():
        if kind is BusActor:
            return BusActor(link, MarketTime())
        return JournalActor(link, RUN, MarketTime())

    return nested("root", SupFlags(intensity=9), [ChildSpec("store", start)])


def changes_of(tree):
    seen = []
    tree.runtime.events.attach(StoreChanged, seen.append)
    return seen


def alert(number):
    return AlertRaised("info", "test", str(number))


@pytest.mark.asyncio
@pytest.mark.parametrize(("kind", "link"), [(JournalActor, Link()), (BusActor, BusLink())])
async def test_a_store_that_is_away_is_no_failure_and_its_return_is_told(kind, link):
    async with manual_tree(tree_of(link, kind)) as tree:
        seen, incarnation = changes_of(tree), tree.ref("store").incarnation
        await tree.run(10)
        assert tree.ref("store").incarnation == incarnation
        probes = link.calls.count("probe")
        assert 10 / PROBE_DOWN_S / 2 <= probes <= 10 / PROBE_DOWN_S + 2
        link.switch = True
        await tree.run(1)
        assert seen == [StoreChanged(link.name, True, "", 77)]
        link.switch = False
        await tree.run(PROBE_UP_S + 1)
        assert seen[1:] == [StoreChanged(link.name, False, "away", 77)]
        figures = await tree.within(tree.ref("store").ask(StoreFigures()))
        assert (figures["is_up"], figures["changes"]) == (False, 3)


@pytest.mark.asyncio
async def test_a_loss_that_others_saw_is_told_before_the_next_probe_is_due():
    link = Link(is_up=True)
    async with manual_tree(tree_of(link)) as tree:
        await tree.run(0.1)
        seen = changes_of(tree)
        link.switch = link.is_up = False
        await tree.run(1.0)
        assert [change.is_up for change in seen] == [False]


@pytest.mark.asyncio
async def test_the_run_is_opened_once_and_closed_at_an_ordered_end():
    link = Link()
    async with manual_tree(tree_of(link)) as tree:
        await tree.run(3)
        assert "open_run" not in link.calls
        link.switch = True
        await tree.run(9)
    important = [call for call in link.calls if call != "probe"]
    assert important == ["open_run", "close_run", "close"]


@pytest.mark.asyncio
async def test_rows_wait_for_the_store_and_come_in_order():
    link = Link()
    async with manual_tree(tree_of(link)) as tree:
        for number in range(1200):
            tree.runtime.events.publish(alert(number))
            if number % 100 == 0:
                await settle()
        tree.runtime.events.publish(LinkChanged("paper", "", "DOWN", "", "", 0))
        await tree.run(2)
        assert link.rows == []
        link.switch = True
        await tree.run(2)
        assert [row.text for row in link.rows] == [str(number) for number in range(1200)]
    assert link.calls[-1] == "close"


@pytest.mark.asyncio
async def test_rows_of_the_last_moment_are_written_at_an_ordered_end():
    link = Link(is_up=True)
    async with manual_tree(tree_of(link)) as tree:
        await tree.run(1)
        tree.runtime.events.publish(alert(1))
        await settle()
    assert [row.text for row in link.rows] == ["1"]


@pytest.mark.asyncio
async def test_a_crash_leaves_the_connections_to_the_successor():
    link = Link(is_up=True)
    async with manual_tree(tree_of(link)) as tree:
        await tree.run(1)
        first = tree.ref("store").incarnation
        tree.runtime.events.publish(alert(1))
        await settle()

        async def explode(rows):
            raise ZeroDivisionError

        kept, link.record = link.record, explode
        await tree.run(1)
        link.record = kept
        await tree.run(1)
        assert tree.ref("store").incarnation != first
        assert "close" not in link.calls
        tree.runtime.events.publish(alert(2))
        await tree.run(1)
        assert [row.text for row in link.rows] == ["2"]


@given(seed=st.integers(0, 2**32), bound=st.integers(1, 60), batch=st.integers(1, 20))
@settings(max_examples=40, deadline=None)
def test_rows_taken_are_written_waiting_or_dropped(seed, bound, batch):
    async def main():
        rng = random.Random(seed)
        link = Link(is_up=rng.random() < 0.5)
        async with manual_tree(tree_of(link), seed=seed) as tree:
            published = 0
            for _ in range(rng.randint(1, 25)):
                for _ in range(rng.randint(0, 12)):
                    tree.runtime.events.publish(alert(published))
                    published += 1
                if rng.random() < 0.3:
                    link.switch = not link.switch
                if rng.random() < 0.2:
                    link.fail_after = rng.randint(0, 2)
                await tree.run(rng.choice([0.0, 0.1, 0.7]))
            link.fail_after = None
            figures = await tree.within(tree.ref("store").ask(StoreFigures()))
            assert figures["rows_taken"] == published
            assert figures["rows_waiting"] <= bound
            counted = (figures[f"rows_{name}"] for name in ("written", "waiting", "dropped"))
            assert sum(counted) == published
            assert figures["rows_written"] == len(link.rows)
            numbers = [int(row.text) for row in link.rows]
            assert numbers == sorted(set(numbers))

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(journal_module, "ROWS_WAITING_MAX", bound)
        patched.setattr(journal_module, "BATCH_ROWS", batch)
        run_seeded(seed, main)
