"""A tree under random harm and random orders keeps S1-S9, and each planted bug is caught.

The scheduling order of ready tasks is drawn from a seed, time is a manual clock.
"""

import asyncio
import contextlib

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from support.manual_tree import SeededLoop, until
from support.puppets import IGNORE, Boom, Do, Stage
from tradebox.supervision import strategy, supervisor
from tradebox.supervision.actor import Actor, Down
from tradebox.supervision.clock import ManualClock, settle
from tradebox.supervision.errors import ActorDown
from tradebox.supervision.events import (
    ActorEvent,
    ChildExited,
    ChildRestarting,
    ChildStarted,
    ChildStartFailed,
    IntensityReached,
)
from tradebox.supervision.intensity import RestartWindow
from tradebox.supervision.kernel import Kernel
from tradebox.supervision.reasons import Shutdown
from tradebox.supervision.registry import Registry
from tradebox.supervision.requests import ChildStatus, SupervisorHandle
from tradebox.supervision.spec import ChildSpec, RestartScope, RestartType, SupFlags
from tradebox.supervision.strategy import AfterExit
from tradebox.supervision.supervisor import Supervisor, nested
from tradebox.supervision.tree import Runtime

IDS = ("a", "b", "c", "d", "e")
SHUTDOWN_S = 0.5
GRACE_S = 0.08
SETTINGS = settings(
    max_examples=40,
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    database=None,
    phases=[Phase.generate],
)
HUNT = settings(
    SETTINGS,
    max_examples=300,
    derandomize=True,
    report_multiple_bugs=False,
)

children = st.sampled_from(IDS)
harms = st.sampled_from(["crash", "stop", "shutdown", "hang", "deaf", "kill"])
outcomes = st.sampled_from([Boom("init"), IGNORE, None])


class Watcher(Actor):
    """Monitors whom it is told to, keeps the Downs."""

    def __init__(self):
        self.downs = []

    async def init(self, ctx):
        self.ctx = ctx

    async def handle(self, msg):
        assert isinstance(msg, Down)
        self.downs.append(msg)


class TreeMachine(RuleBasedStateMachine):
    """root: [watcher, sup: [a … e, inner: [x, y]]], any scope, any types."""

    loop = None

    @initialize(
        seed=st.integers(0, 2**16),
        scope=st.sampled_from(RestartScope),
        types=st.lists(st.sampled_from(RestartType), min_size=5, max_size=5),
        intensity=st.integers(0, 3),
    )
    def grow(self, seed, scope, types, intensity):
        self.loop = SeededLoop(seed)
        self.stage = Stage()
        self.flags = SupFlags(scope, intensity, 5.0)
        specs = [
            self.stage.child(x, kind, shutdown=SHUTDOWN_S)
            for x, kind in zip(IDS, types, strict=True)
        ]
        self.kinds = dict(zip(IDS, types, strict=True))
        specs.append(nested("inner", SupFlags(intensity=1), [self.stage.child(x) for x in "xy"]))
        self.watcher = Watcher()
        outer = nested("sup", self.flags, specs)
        root = nested(
            "root", SupFlags(intensity=10_000), [ChildSpec("watcher", lambda: self.watcher), outer]
        )
        self.clock = ManualClock()
        self.runtime = Runtime(self.clock, zombies_max=10_000)
        self.kernel = self.runtime.kernel
        self.events, self.seen, self.ordered = [], 0, dict.fromkeys(IDS, 0)
        self.monitored, self.order = {}, [*IDS, "inner"]
        self.runtime.events.attach(ActorEvent, self.events.append)
        self.do(self.runtime.start(root))

    def do(self, coro):
        async def main():
            result = await coro
            await settle()
            return result

        return self.loop.run_until_complete(main())

    @property
    def sup(self):
        return SupervisorHandle(self.runtime.registry.via("sup"))

    def ref(self, child):
        return self.runtime.registry.whereis(f"sup.{child}")

    def ask(self, coro):
        """Ask while the clock moves as far as it must."""

        async def main():
            asking = asyncio.ensure_future(coro)
            await settle()
            late_s = self.clock.now() + 60.0
            while not asking.done():
                assert self.clock.now() < late_s, "S5 the answer needs a minute"
                await self.clock.run_until(self.clock.next_due())
            with contextlib.suppress(ActorDown):
                asking.result()

        return self.do(main())

    @rule(child=st.sampled_from((*IDS, "inner.x", "inner")), harm=harms)
    def harm(self, child, harm):
        ref = self.ref(child)
        if ref is None:
            return

        async def main():
            if harm == "kill" or child == "inner":
                self.kernel.kill(ref._cell)
            elif harm == "shutdown":
                ref.tell(Do("stop", Shutdown()))
            else:
                ref.tell(Do(harm))

        self.do(main())

    @rule(child=children, outcome=outcomes)
    def plan_next_start(self, child, outcome):
        self.stage.next_inits(child, outcome)

    @rule(seconds=st.sampled_from([0.01, 0.1, 1.0, 6.0]))
    def wait(self, seconds):
        self.do(self.clock.run_for(seconds))

    @rule(child=children)
    def terminate(self, child):
        self.ask(self.sup.terminate_child(child))

    @rule(child=children)
    def start_stopped(self, child):
        self.ordered[child] += 1
        self.ask(self.sup.restart_child(child))

    @rule(child=children)
    def add(self, child):
        self.ordered[child] += 1
        spec = self.stage.child(child, self.kinds[child], shutdown=SHUTDOWN_S)
        self.ask(self.sup.start_child(spec))

    @rule(child=children)
    def delete(self, child):
        self.ask(self.sup.delete_child(child))

    @rule(child=children, late=st.booleans())
    def replace(self, child, late):
        ref = self.ref(child)
        if ref is not None:
            self.ask(self.sup.restart_child(child, ref.incarnation - late))

    @rule(child=children)
    def monitor(self, child):
        ref = self.ref(child)
        if ref is not None and ref.alive:
            self.monitored[self.watcher.ctx.monitor(ref)] = ref

    @rule()
    def kill_the_supervisor(self):
        self.kernel.kill(self.runtime.registry.whereis("sup")._cell)
        self.do(self.clock.run_for(0.5))

    def new_events(self):
        fresh = self.events[self.seen :]
        self.seen = len(self.events)
        return fresh

    @precondition(lambda self: self.loop is not None)
    @invariant()
    def at_rest(self):
        self.do(settle())
        self.in_order()
        self.no_orphans()
        self.intensity_kept()
        self.temporary_never_restarts()
        self.counts_agree()
        self.one_down_each()
        self.names_agree()

    def in_order(self):
        """S1: what is stopped together goes in reverse start order, what starts in start order."""
        cell = self.runtime.registry.whereis("sup")
        order = [*IDS, "inner"] if cell is None else list(cell._cell.actor.children)
        before = [*self.order, *(x for x in order if x not in self.order)]
        self.order, stops, starts = order, [], []
        for event in self.new_events():
            if isinstance(event, ChildExited) and event.name == "sup":
                before, stops, starts = [*IDS, "inner"], [], []
            if not event.name.startswith("sup.") or event.name.count(".") > 1:
                continue
            if isinstance(event, ChildExited) and event.asked:
                at = before.index(event.child_id)
                assert not stops or stops[-1] > at, "S1 stops"
                stops.append(at)
            elif isinstance(event, ChildStarted):
                at = before.index(event.child_id)
                assert not starts or starts[-1] < at, "S1 starts"
                starts.append(at)
                stops = []
            elif isinstance(event, ChildExited | ChildStartFailed):
                stops, starts = [], []

    def no_orphans(self):
        """S2: every live task has one live supervisor, or is a counted zombie."""
        owned, zombies = set(), self.kernel._zombies
        for cell in self.kernel.live_cells():
            owned |= {cell.task, *cell.io_tasks}
            assert cell.parent is None or cell.parent.reason is None, "S2 parent"
            if cell.parent is not None and cell.parent.state.value == "running":
                known = [child.cell for child in cell.parent.actor.children.values()]
                assert cell in known or cell.state.value != "running", "S2 unknown"
        live = {task for task in asyncio.all_tasks(self.loop) if not task.done()}
        assert live <= owned | zombies, "S2 orphan"
        assert all(not task.done() for task in zombies), "S2 zombies"

    def intensity_kept(self):
        """S3: restarts in any window ≤ intensity; the next one escalates."""
        stamps = []
        for event in self.events:
            if isinstance(event, ChildStarted) and event.name == "sup":
                stamps = []
            if event.name.count(".") != 1 or not event.name.startswith("sup."):
                continue
            if isinstance(event, ChildRestarting | IntensityReached):
                stamps.append(event.at_s)
                recent = [at for at in stamps if at >= event.at_s - self.flags.period]
                much = len(recent) > self.flags.intensity
                assert much is isinstance(event, IntensityReached), "S3"

    def temporary_never_restarts(self):
        """S4: each start of a temporary child was ordered, by the tree's own start or by us."""
        trees = 0
        starts = {f"sup.{child}": 0 for child in IDS}
        for event in self.events:
            if isinstance(event, ChildStarted | ChildStartFailed):
                trees += event.name == "sup"
            if isinstance(event, ChildStarted) and event.name in starts:
                starts[event.name] += 1
        for child, kind in self.kinds.items():
            if kind is RestartType.TEMPORARY:
                assert starts[f"sup.{child}"] <= self.ordered[child] + trees, "S4"

    def counts_agree(self):
        """S6: which and count agree with reality."""
        ref = self.runtime.registry.whereis("sup")
        if ref is None or ref.state.value != "running":
            return
        cell = ref._cell
        asking = asyncio.ensure_future(self.sup.which_children(), loop=self.loop)
        counting = asyncio.ensure_future(self.sup.count_children(), loop=self.loop)
        self.do(settle())
        if not asking.done() or not counting.done():
            asking.cancel()
            counting.cancel()
            self.do(settle())
            return
        rows = asking.result()
        live = [each for each in cell.children.values() if each.state.value == "running"]
        running = [row.ref for row in rows if row.status is ChildStatus.RUNNING]
        assert {each.name for each in live} <= {row.name for row in running}, "S6 missing"
        assert all(row is not None and row.alive for row in running), "S6 dead"
        assert all(row.ref is None for row in rows if row.status is not ChildStatus.RUNNING), "S6"
        counts = counting.result()
        assert (counts.specs, counts.active) == (len(rows), len(running)), "S6 counts"

    def one_down_each(self):
        """S8: every exit gives exactly one Down per monitor."""
        got = [down.monitor_id for down in self.watcher.downs]
        assert len(got) == len(set(got)), "S8 twice"
        dead = {key for key, ref in self.monitored.items() if not ref.alive}
        assert set(got) == dead, "S8 missing"

    def names_agree(self):
        """S9: names are unique, and free after exit."""
        names = self.runtime.registry.names()
        cells = sorted(cell.name for cell in self.kernel.live_cells())
        assert names == cells, "S9 live"
        assert sorted(self.runtime.registry._refs) == cells, "S9 free"

    def teardown(self):
        if self.loop is None:
            return
        try:
            if not self.runtime.root.alive:
                return
            asked_s = self.clock.now()
            count = len(self.kernel.live_cells())
            self.ask(self.runtime.stop())
            took_s = self.clock.now() - asked_s
            assert took_s <= count * (SHUTDOWN_S + GRACE_S) + 5.0 * 2 + GRACE_S, "S5"
            workers = len(self.watcher.downs)
            assert workers == len(self.monitored), "S8 at the end"
            assert self.kernel.live_cells() == [], "S2 at the end"
        finally:
            self.clean_up()

    def clean_up(self):
        async def main():
            self.stage.clear.set()
            await settle()
            for task in asyncio.all_tasks():
                if task is not asyncio.current_task():
                    task.cancel()
            await settle()

        with contextlib.suppress(AssertionError):
            self.loop.run_until_complete(main())
        self.loop.close()


def test_s1_to_s9_hold_under_random_harm():
    run_state_machine_as_test(TreeMachine, settings=SETTINGS)


async def stop_in_start_order(self):
    for child in list(self.children.values()):
        await self._stop(child)


def plan_forwards(scope, views, failed_id):
    plan = strategy.plan_restart(scope, views, failed_id)
    return strategy.Plan(tuple(reversed(plan.stop)), plan.forget, plan.start)


def report_at_once(self, cell):
    if cell.end is not None and cell.reason is None:
        self._report(cell, cell.end)


def one_more(self, now):
    window, _ = ADD(self, now)
    return window, len(window.stamps) > self.intensity + 1


ADD = RestartWindow.add
AFTER_EXIT = strategy.after_exit
TELL_PARTNERS = Kernel._tell_partners


def revive_temporary(kind, reason):
    return AFTER_EXIT(kind, reason) if reason.expected else AfterExit.RESTART


def revive_bystander(scope, views, failed_id):
    plan = strategy.plan_restart(scope, views, failed_id)
    covered = plan.start + plan.forget
    return strategy.Plan(plan.stop, (), tuple(v.id for v in views if v.id in covered))


async def ask_and_wait_for_ever(self, cells, wait):
    going = list(cells)
    for cell in going:
        self.request_stop(cell)
    reasons = []
    for cell in going:
        timer = self.clock.call_at(self.clock.now() + 100.0, lambda cell=cell: self.kill(cell))
        reasons.append(await self.join(cell))
        timer.cancel()
    return reasons


async def count_specs_as_active(self, _):
    known = len(self.children)
    return supervisor.ChildCounts(known, known, 0, known)


def tell_twice(self, cell, ref, reason):
    watchers = dict(cell.watchers)
    TELL_PARTNERS(self, cell, ref, reason)
    for monitor_id, watcher in watchers.items():
        watcher.watching[monitor_id + 1_000_000] = cell
        watcher.mailbox.put_control(Down(monitor_id, ref, reason))
        watcher.mailbox.put_control(Down(monitor_id + 1_000_000, ref, reason))


def tell_nobody(self, cell, ref, reason):
    cell.watchers.clear()
    TELL_PARTNERS(self, cell, ref, reason)


MUTANTS = [
    ("S1", supervisor.Supervisor, "_stop_all", stop_in_start_order),
    ("S1", supervisor, "plan_restart", plan_forwards),
    ("S2", Kernel, "_settle_end", report_at_once),
    ("S3", RestartWindow, "add", one_more),
    ("S4", supervisor, "after_exit", revive_temporary),
    ("S4", supervisor, "plan_restart", revive_bystander),
    ("S5", Kernel, "stop_together", ask_and_wait_for_ever),
    ("S6", Supervisor, "_on_count_children", count_specs_as_active),
    ("S8", Kernel, "_tell_partners", tell_twice),
    ("S8", Kernel, "_tell_partners", tell_nobody),
    ("S9", Registry, "release", lambda self, ref: None),
]


@pytest.mark.parametrize(
    ("rule_name", "owner", "name", "mutant"),
    MUTANTS,
    ids=[f"{case[0]}-{case[3].__name__}" for case in MUTANTS],
)
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_planted_bug_is_caught(monkeypatch, rule_name, owner, name, mutant):
    monkeypatch.setattr(owner, name, mutant)
    with pytest.raises(AssertionError, match=rule_name):
        run_state_machine_as_test(TreeMachine, settings=HUNT)


class LoopMachine(RuleBasedStateMachine):
    """S7: inside a restart loop without end the supervisor still answers and stops."""

    loop = None

    @initialize(seed=st.integers(0, 2**16), scope=st.sampled_from(RestartScope))
    def grow(self, seed, scope):
        self.loop = SeededLoop(seed)
        self.stage = Stage()
        flags = SupFlags(scope, 10_000_000, 3_600.0)
        self.runtime = Runtime(ManualClock())
        self.started = []
        self.runtime.events.attach(ChildStartFailed, self.started.append)
        inner = nested("sup", flags, map(self.stage.child, "abc"))
        self.run(self.runtime.start(nested("root", SupFlags(intensity=9), [inner])))

    def run(self, coro):
        return self.loop.run_until_complete(coro)

    def answered(self, coro):
        async def main():
            asking = asyncio.ensure_future(coro)
            try:
                await until(asking.done, 2_000)
            finally:
                asking.cancel()
            return asking.result()

        return self.run(main())

    @rule(child=st.sampled_from("abc"))
    def loop_for_ever(self, child):
        ref = self.runtime.registry.whereis(f"sup.{child}")
        if ref is None:
            return
        self.stage.next_inits(child, *[Boom(child)] * 20_000)
        ref.tell(Do("crash"))
        seen = len(self.started) + 5
        self.run(until(lambda: len(self.started) > seen, 20_000))

    @rule()
    def ask(self):
        sup = SupervisorHandle(self.runtime.registry.whereis("sup"))
        assert len(self.answered(sup.which_children())) == 3
        assert self.answered(sup.count_children()).specs == 3

    @rule(child=st.sampled_from("abc"))
    def terminate_and_restart(self, child):
        sup = SupervisorHandle(self.runtime.registry.whereis("sup"))
        self.answered(sup.terminate_child(child))
        self.stage.inits.clear()
        self.answered(sup.restart_child(child))

    def teardown(self):
        if self.loop is None:
            return

        async def stop():
            root = SupervisorHandle(self.runtime.root)
            await root.terminate_child("sup")
            await self.runtime.stop()

        try:
            self.answered(stop())
        finally:
            self.stage.inits.clear()
            for task in asyncio.all_tasks(self.loop):
                task.cancel()
            self.run(settle())
            self.loop.close()


def test_s7_a_supervisor_answers_inside_a_restart_loop():
    run_state_machine_as_test(LoopMachine, settings=settings(SETTINGS, max_examples=15))


async def retry_inline(self, child):
    for _ in range(20_000):
        failed = None
        for child_id in await self._clear(child):
            each = self.children[child_id]
            try:
                await self._start_again(each)
            except supervisor.StartFailed as error:
                self._note_failed(each, error)
                failed = each
                break
        if failed is None:
            return
        child = failed


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_s7_a_retry_that_does_not_queue_behind_the_mailbox_is_caught(monkeypatch):
    monkeypatch.setattr(Supervisor, "_begin", retry_inline)
    with pytest.raises(AssertionError):
        run_state_machine_as_test(LoopMachine, settings=settings(HUNT, max_examples=20))
