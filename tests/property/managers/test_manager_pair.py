"""M1 to M3: one leader, one restart per incarnation, nobody quiet for long."""

import asyncio
import random
from dataclasses import dataclass

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from support.manual_tree import manual_tree, run_seeded
from support.ticks import Market
from tradebox.actors import redundancy
from tradebox.actors.redundancy import FoundQuiet, Manager, PairTimes, ProbeTarget
from tradebox.domain.events import AlertRaised
from tradebox.supervision.actor import Actor
from tradebox.supervision.events import ChildExited
from tradebox.supervision.gate import EpochGate
from tradebox.supervision.reasons import Hung
from tradebox.supervision.spec import ChildSpec, ChildType, SupFlags
from tradebox.supervision.supervisor import Supervisor, nested

RUN = settings(
    max_examples=25, derandomize=True, database=None, deadline=None, report_multiple_bugs=False
)
HUNT = settings(RUN, phases=[Phase.generate])
TARGETS = (ProbeTarget("live", 5.0), ProbeTarget("paper", 30.0))
TIMES = PairTimes(beat_s=1.0, lease_s=3.0)
MANAGERS = ("managers.manager_a", "managers.manager_b")
SLACK_S = 0.2


@dataclass(frozen=True)
class Harm:
    kind: str


class Fragile:
    """Fails when told to."""

    async def handle(self, msg):
        if not isinstance(msg, Harm):
            await super().handle(msg)
        elif msg.kind == "crash":
            raise RuntimeError("told to")
        else:
            await asyncio.Event().wait()


class Plain(Actor):
    async def handle(self, msg):
        del msg


class Patient(Fragile, Plain):
    pass


class FragileManager(Fragile, Manager):
    """Notes each of its restarts that took effect: by whom, under which epoch, of whom."""

    def __init__(self, effects, *given):
        super().__init__(*given)
        self.effects = effects

    async def _restart(self, target, incarnation, epoch):
        before = self.figures.restarts
        await super()._restart(target, incarnation, epoch)
        if self.figures.restarts > before:
            self.effects.append((epoch, self._ctx.name, target.name, incarnation))


def tree(gate, effects=None):
    flags = SupFlags(intensity=1000, period=1.0)
    market = Market()

    def manager(other):
        partner = ProbeTarget(f"managers.{other}", 1.0)
        kept = [] if effects is None else effects
        return lambda: FragileManager(kept, partner, gate, TARGETS, market, TIMES)

    pair = [
        ChildSpec(id="manager_a", start=manager("manager_b")),
        ChildSpec(id="manager_b", start=manager("manager_a")),
    ]
    branch = ChildSpec(
        id="managers",
        start=lambda: Supervisor(flags, pair),
        type=ChildType.SUPERVISOR,
    )
    children = [ChildSpec(id=one.name, start=Patient) for one in TARGETS]
    return ChildSpec(
        id="root",
        start=lambda: Supervisor(flags, [*children, branch], gate),
        type=ChildType.SUPERVISOR,
    )


class World:
    """A tree on a manual clock and what befell it."""

    judged = frozenset({"M1", "M2", "M3"})

    def __init__(self, harness, gate, effects=()):
        self.harness = harness
        self.gate = gate
        self.effects = effects
        self.hung = {}
        self.harmed_s = -1e9
        self.alerts = []
        harness.runtime.events.attach(AlertRaised, self.alerts.append)

    @property
    def now_s(self):
        return self.harness.clock.now()

    def find(self, name):
        return self.harness.runtime.registry.whereis(name)

    def is_well(self, name):
        ref = self.find(name)
        return ref is not None and ref.incarnation not in self.hung

    def harm(self, name, kind):
        ref = self.find(name)
        if ref is None or ref.incarnation in self.hung:
            return
        if name in MANAGERS:
            if not all(self.is_well(each) for each in MANAGERS):
                return
            self.harmed_s = self.now_s
        if kind == "hang":
            self.hung[ref.incarnation] = (name, self.now_s)
        ref.tell(Harm(kind))

    def late_news(self, rng):
        """Have the leader hear once more of somebody who was found quiet before."""
        known = [key for key, (name, _) in self.hung.items() if name not in MANAGERS]
        if not known:
            return
        incarnation = rng.choice(known)
        target = next(one for one in TARGETS if one.name == self.hung[incarnation][0])
        leader = self.find(self.gate.owner)
        if leader is not None:
            leader.tell(FoundQuiet(target, incarnation, self.gate.epoch))

    def must(self, holds, promise):
        assert holds or promise.partition(":")[0] not in self.judged, promise

    def check(self):
        leaders = [
            name
            for name in MANAGERS
            if (ref := self.find(name)) is not None and ref._cell.actor.is_leader
        ]
        self.must(len(leaders) <= 1, "M1: two lead")
        orders = {(epoch, manager) for epoch, manager, *_ in self.effects}
        self.must(len(orders) == len({epoch for epoch, _ in orders}), "M1: two order in one epoch")
        done = [(target, incarnation) for *_, target, incarnation in self.effects]
        self.must(len(done) == len(set(done)), "M2: one incarnation was restarted twice")
        for exited in self.harness.of(ChildExited):
            if exited.reason == Hung("probe"):
                self.must(exited.incarnation in self.hung, "M2: a healthy one was restarted")
        period = {one.name: one.period_s + 2 * one.timeout_s for one in TARGETS}
        for incarnation, (name, hung_s) in self.hung.items():
            ref = self.find(name)
            if ref is None or ref.incarnation != incarnation:
                continue
            limit_s = period.get(name, TIMES.lease_s) + 2 * TIMES.beat_s + SLACK_S
            since_s = max(hung_s, self.harmed_s + TIMES.lease_s)
            self.must(self.now_s - since_s <= limit_s, f"M3: {name} is still quiet")


async def scenario(seed):
    rng = random.Random(seed)
    gate = EpochGate(1, 1, "control")
    effects = []
    async with manual_tree(tree(gate, effects), seed=seed) as harness:
        world = World(harness, gate, effects)
        await harness.run(rng.random())
        for _ in range(rng.randint(1, 10)):
            name = rng.choice([*MANAGERS, "live", "paper"])
            world.harm(name, rng.choice(["crash", "hang"]))
            if rng.random() < 0.3:
                world.late_news(rng)
            for _ in range(rng.randint(1, 40)):
                await harness.run(rng.choice([0.3, 0.9]))
                world.check()
        for _ in range(60):
            await harness.run(0.9)
            world.check()
        leads = any(harness.ref(name)._cell.actor.is_leader for name in MANAGERS)
        world.must(leads, "M3: nobody leads")
        world.must(
            all(world.is_well(name) for name in ("live", "paper", *MANAGERS)),
            "M3: not all are well",
        )


def pair_keeps_its_word(seed):
    run_seeded(seed, lambda: scenario(seed))


def hold(run):
    run(given(st.integers(0, 2**32))(pair_keeps_its_word))()


def test_the_managers_keep_m1_to_m3():
    hold(RUN)


async def give_up_at_once(manager, target, ref, epoch):
    del manager, target, ref, epoch
    await asyncio.sleep(0)


async def suspect_at_once(manager, target, ref, epoch):
    manager._ctx.ref.tell(FoundQuiet(target, ref.incarnation, epoch))
    await asyncio.sleep(0)


def same_epoch(gate, owner):
    gate._owner = owner
    return gate.epoch


async def restart_whoever_runs(supervisor, req):
    child = supervisor.children[req.id]
    if child.cell is None:
        return await RESTART(supervisor, req)
    return await supervisor._replace(child, child.cell)


def order_again_and_again(manager, target, incarnation, epoch):
    manager._ctx.spawn_io(manager._restart(target, incarnation, epoch))


RESTART = Supervisor._on_restart_child
MUTANTS = {
    "one epoch for both": ("M1", [(EpochGate, "acquire", same_epoch)]),
    "restarts who never was asked": ("M2", [(Manager, "_probe", suspect_at_once)]),
    "nobody looks at the incarnation": (
        "M2",
        [
            (Supervisor, "_on_restart_child", restart_whoever_runs),
            (Manager, "_order_restart", order_again_and_again),
        ],
    ),
    "never hears a silence": ("M3", [(Manager, "_on_silence", lambda *_: None)]),
    "never probes": ("M3", [(Manager, "_probe", give_up_at_once)]),
    "orders nothing": ("M3", [(Manager, "_order_restart", lambda *_: None)]),
}


@pytest.mark.parametrize("mutant", MUTANTS)
def test_a_mutant_is_caught(mutant, monkeypatch):
    """Each promise catches its own mutants, with the others looking away."""
    promise, replacements = MUTANTS[mutant]
    monkeypatch.setattr(World, "judged", {promise})
    for owner, name, replacement in replacements:
        monkeypatch.setattr(owner, name, replacement)
    with pytest.raises(AssertionError, match=rf"^{promise}\b"):
        hold(HUNT)


# --- single cases -----------------------------------------------------------------------------


async def with_world(body):
    gate = EpochGate(1, 1, "control")
    async with manual_tree(tree(gate)) as harness:
        await harness.run(0.1)
        await body(World(harness, gate), harness)


@pytest.mark.asyncio
async def test_live_is_back_within_its_period_and_two_timeouts():
    async def body(world, harness):
        world.harm("live", "hang")
        await harness.run(5.0 + 2 * TARGETS[0].timeout_s + SLACK_S)
        assert world.is_well("live")
        assert [one.kind for one in world.alerts] == ["actor_quiet"]

    await with_world(body)


@pytest.mark.asyncio
async def test_a_crashed_leader_is_followed_at_once():
    async def body(world, harness):
        assert world.gate.owner == MANAGERS[0]
        epoch = world.gate.epoch
        world.harm(MANAGERS[0], "crash")
        await harness.run(0.0)
        assert world.gate.owner == MANAGERS[1]
        assert world.gate.epoch > epoch
        await harness.run(0.5)
        assert not harness.ref(MANAGERS[0])._cell.actor.is_leader

    await with_world(body)


@pytest.mark.asyncio
async def test_a_hung_leader_is_followed_after_its_lease_and_replaced():
    async def body(world, harness):
        world.harm(MANAGERS[0], "hang")
        await harness.run(TIMES.lease_s - 0.5)
        assert world.gate.owner == MANAGERS[0]
        await harness.run(1.5 + TIMES.beat_s)
        assert world.gate.owner == MANAGERS[1]
        assert world.is_well(MANAGERS[0])

    await with_world(body)


@pytest.mark.asyncio
async def test_late_news_of_an_old_incarnation_or_epoch_restarts_nobody():
    async def body(world, harness):
        leader, live = harness.ref(MANAGERS[0]), harness.ref("live")
        old = live.incarnation
        leader.tell(FoundQuiet(TARGETS[0], old, world.gate.epoch - 1))
        await harness.run(0.5)
        assert harness.ref("live").incarnation == old
        world.harm("live", "hang")
        await harness.run(10.0)
        new = harness.ref("live").incarnation
        assert new != old
        for _ in range(2):
            leader.tell(FoundQuiet(TARGETS[0], old, world.gate.epoch))
            await harness.run(0.5)
        assert harness.ref("live").incarnation == new

    await with_world(body)


@pytest.mark.asyncio
async def test_quiet_three_times_is_a_critical_alert():
    async def body(world, harness):
        for _ in range(3):
            world.harm("live", "hang")
            await harness.run(12.0)
        often = [one.severity for one in world.alerts if one.kind == "actor_quiet_often"]
        assert often == ["critical"]

    await with_world(body)


@pytest.mark.asyncio
@pytest.mark.parametrize("gated", [True, False])
async def test_who_is_quiet_three_times_is_restarted_with_its_branch(gated):
    gate = EpochGate(1, 1, "control")
    target = ProbeTarget("branch.live", 5.0)
    flags = SupFlags(intensity=1000, period=1.0)
    pair = {"manager_a": "manager_b", "manager_b": "manager_a"}
    specs = [
        ChildSpec(
            id=name,
            start=lambda other=other: Manager(
                ProbeTarget(f"managers.{other}", 1.0), gate, [target], Market(), TIMES
            ),
        )
        for name, other in pair.items()
    ]
    branch = [ChildSpec(id="base", start=Plain), ChildSpec(id="live", start=Patient)]
    children = [nested("branch", flags, branch, gate), nested("managers", flags, specs)]
    async with manual_tree(nested("root", flags, children, gate if gated else None)) as tree:
        alerts = []
        tree.runtime.events.attach(AlertRaised, alerts.append)
        base, old = tree.ref("branch.base"), tree.ref("branch.live")
        for _ in range(redundancy.RESTARTS_ALARMING):
            assert tree.ref("branch.base") == base
            tree.ref("branch.live").tell(Harm("hang"))
            await tree.run(15.0)
        assert tree.ref("branch.base").incarnation > old.incarnation + 2
        assert tree.ref("branch.live").alive
        assert [alert.kind for alert in alerts].count("actor_quiet_often") == 1
