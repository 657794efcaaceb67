"""The link actor and the reconciler in a real tree, against the sim gateway."""

import asyncio

import pytest

from support.order_world import ACCOUNT_ID, MarketTime
from support.tws_bench import TwsBench, eventually
from tradebox.actors.order_link import OrderLinkActor
from tradebox.actors.reconciler import ReconcilerActor
from tradebox.adapters.ibkr.orders import IbOrderPort
from tradebox.domain.events import AlertRaised
from tradebox.domain.orders import AccountName
from tradebox.domain.path import LinkState
from tradebox.errors import AccountMismatch, HaltError
from tradebox.execution.identity import Identity
from tradebox.execution.order_link import LinkDeadlines, OrderLink
from tradebox.ports.orders import SnapshotTaken
from tradebox.supervision.clock import MonotonicClock


class Bare:
    """The part of a context that these actors use."""

    def __init__(self) -> None:
        self.clock = MonotonicClock()
        self.tasks: list[asyncio.Task] = []

    def spawn_io(self, coro) -> None:
        self.tasks.append(asyncio.ensure_future(coro))

    async def stop(self) -> None:
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)


class Scene:
    """A link with its two actors; a listener that cleans the link at each snapshot."""

    def __init__(self, bench, *, snapshot_s: float = 0.5, per_s_max: int = 48, **identity) -> None:
        host, port = bench.address
        fields = {"account_id": ACCOUNT_ID, "host": host, "port": port, **identity}
        who = Identity("sim", AccountName.PAPER, **fields)
        clock = MonotonicClock()
        self.published = []
        self.snapshots = 0
        self.port = IbOrderPort(
            host, port, 11, clock, connect_deadline_s=1.0, messages_per_s_max=per_s_max
        )
        self.link = OrderLink(
            who,
            self.port,
            11,
            clock,
            MarketTime(bench.market.clock),
            self.published.append,
            deadlines=LinkDeadlines(1.0, 0.2, snapshot_s),
        )
        self.link.attach(self._take)
        self.ctx = Bare()
        self.actors = [
            OrderLinkActor(self.link, backoff_s_max=0.1),
            ReconcilerActor(self.link),
        ]

    def _take(self, fact) -> bool:
        if isinstance(fact, SnapshotTaken):
            self.snapshots += 1
            self.link.mark_clean(fact.session)
        return True

    async def __aenter__(self):
        for actor in self.actors:
            await actor.init(self.ctx)
        return self

    async def __aexit__(self, *_):
        await self.ctx.stop()
        for actor in self.actors:
            await actor.terminate("the test ends")

    async def until_clean(self):
        await eventually(lambda: self.link.state is LinkState.CLEAN, "a clean link")


@pytest.mark.asyncio
async def test_a_reset_connection_comes_back_clean_by_itself():
    bench = await TwsBench(None).start()
    try:
        async with Scene(bench) as scene:
            await scene.until_clean()
            breaks = scene.link.breaks
            bench.faults.set("disconnect")
            await eventually(lambda: scene.link.breaks > breaks, "the cut")
            await scene.until_clean()
            assert scene.snapshots >= 2
    finally:
        await bench.stop()


@pytest.mark.asyncio
async def test_a_gateway_that_answers_nothing_is_left_after_two_heartbeats():
    bench = await TwsBench(None).start()
    try:
        async with Scene(bench) as scene:
            await scene.until_clean()
            breaks = scene.link.breaks
            bench.faults.set("mute_request", message_id=49)
            await eventually(lambda: scene.link.breaks > breaks, "two missed beats")
            bench.faults.clear("mute_request")
            await scene.until_clean()
    finally:
        await bench.stop()


@pytest.mark.asyncio
async def test_a_list_that_the_gateway_dropped_is_not_waited_for():
    bench = await TwsBench(None).start()
    try:
        async with Scene(bench, snapshot_s=60.0) as scene:
            await scene.until_clean()
            snapshots = scene.snapshots
            bench.faults.set("pacing", count=1)
            scene.link.want_look("one list of it is dropped")
            await eventually(lambda: scene.snapshots > snapshots, "a whole read")
            await scene.until_clean()
    finally:
        await bench.stop()


@pytest.mark.asyncio
async def test_a_flood_of_looks_stays_within_the_gateways_pace():
    bench = await TwsBench(None).start()
    bench.paper.messages_per_s_max = 11
    try:
        async with Scene(bench, per_s_max=28) as scene:
            await scene.until_clean()
            breaks, snapshots = scene.link.breaks, scene.snapshots

            def wants_more():
                scene.link.want_look("again and again")
                return scene.snapshots > snapshots + 6

            await eventually(wants_more, "seven looks")
            assert scene.link.breaks == breaks, "the gateway dropped a message"
    finally:
        await bench.stop()


@pytest.mark.asyncio
async def test_another_account_ends_the_actor_for_good():
    bench = await TwsBench(None).start()
    try:
        async with Scene(bench, account_id="SIM9999999P") as scene:
            await eventually(scene.ctx.tasks[0].done, "the end")
            assert isinstance(scene.ctx.tasks[0].exception(), AccountMismatch)
            assert isinstance(scene.ctx.tasks[0].exception(), HaltError)
            kinds = [e.kind for e in scene.published if isinstance(e, AlertRaised)]
            assert "account_mismatch" in kinds
    finally:
        await bench.stop()


@pytest.mark.asyncio
@pytest.mark.parametrize("forbidden", [4001, 4002, 7496, 7497])
async def test_a_real_gateways_port_is_not_even_dialled(forbidden, monkeypatch):
    bench = await TwsBench(None).start()
    try:
        scene = Scene(bench, port=forbidden)
        dialled = []
        monkeypatch.setattr(scene.port, "connect", dialled.append)
        with pytest.raises(AccountMismatch, match="never talks"):
            await scene.link.connect()
        assert dialled == []
    finally:
        await bench.stop()
