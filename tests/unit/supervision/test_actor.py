"""Messages, questions, monitors, links, timers and idle ticks of one actor."""

import asyncio

import pytest

from support.manual_tree import manual_tree
from support.puppets import Boom, Do, Puppet, Stage
from tradebox.supervision.actor import NO_REPLY, Actor, Down, LinkDown
from tradebox.supervision.clock import settle
from tradebox.supervision.errors import ActorDown, AskTimeout, LinkedExit, MailboxFull
from tradebox.supervision.mailbox import CONTROL_PINGS_MAX, Overflow
from tradebox.supervision.reasons import Crash, NoProc, Normal, Shutdown
from tradebox.supervision.ref import Ping, Pong
from tradebox.supervision.spec import ChildSpec, RestartType, SupFlags
from tradebox.supervision.supervisor import nested

TEMPORARY = RestartType.TEMPORARY


def two(stage, kind=Puppet):
    children = [
        ChildSpec("a", lambda: kind(stage, "a"), TEMPORARY),
        ChildSpec("b", lambda: Puppet(stage, "b"), TEMPORARY),
    ]
    return nested("root", SupFlags(intensity=9), children)


def puppet(stage, label):
    return next(one for one in reversed(stage.made) if one.label == label)


@pytest.mark.asyncio
async def test_messages_arrive_in_order_and_ask_keeps_its_place_among_them():
    stage = Stage()
    async with manual_tree(two(stage)) as tree:
        ref = tree.ref("a")
        assert ref.tell(1)
        assert ref.tell(2)
        assert await ref.ask(3) == 3
        assert puppet(stage, "a").heard == [1, 2, 3]


@pytest.mark.asyncio
async def test_ask_times_out_drops_the_late_answer_and_skips_who_left():
    class Later(Puppet):
        async def handle_call(self, req, reply_to):
            self.replies = [*getattr(self, "replies", []), reply_to]
            return NO_REPLY

    stage = Stage()
    async with manual_tree(two(stage, Later)) as tree:
        with pytest.raises(AskTimeout) as caught:
            await tree.within(tree.ref("a").ask("x", 2.0))
        assert caught.value.timeout_s == 2.0
        assert tree.clock.now() == 2.0
        puppet(stage, "a").replies[0].reply("late")
        answering = asyncio.ensure_future(tree.ref("a").ask("y"))
        await settle()
        puppet(stage, "a").replies[1].reply("now")
        assert await tree.within(answering) == "now"
        assert tree.ref("a")._cell.pending == set()


@pytest.mark.asyncio
async def test_ask_fails_with_the_reason_when_the_callee_dies_or_is_dead():
    stage = Stage()
    async with manual_tree(two(stage)) as tree:
        ref = tree.ref("a")
        for _ in range(2):
            with pytest.raises(ActorDown) as caught:
                await tree.within(ref.ask(Do("crash")))
            assert caught.value.reason == Crash(Boom("a"))
        assert ref.tell("x") is False


@pytest.mark.asyncio
async def test_ask_of_oneself_is_a_bug_and_too_slow_is_no_timeout_error():
    class Narcissus(Actor):
        async def init(self, ctx):
            self.ref = ctx.ref

        async def handle(self, msg):
            await self.ref.ask("me")

    root = nested("root", None, [ChildSpec("a", Narcissus, TEMPORARY)])
    async with manual_tree(root) as tree:
        ref = tree.ref("a")
        ref.tell("go")
        await tree.run()
        assert isinstance(ref.reason.error, AssertionError)


@pytest.mark.asyncio
async def test_a_full_mailbox_refuses_and_a_dropped_question_fails():
    class Small(Puppet):
        mailbox_capacity = 1
        overflow = Overflow.DROP_OLDEST

    stage = Stage()
    async with manual_tree(two(stage, Small)) as tree:
        ref = tree.ref("a")
        ref.tell(Do("hang"))
        await settle()
        asking = asyncio.ensure_future(ref.ask("q"))
        await settle()
        assert ref.tell("newer")
        with pytest.raises(MailboxFull):
            await asking
        stage.clear.set()


@pytest.mark.asyncio
async def test_quotes_conflate_by_key_and_questions_do_not():
    class Quotes(Puppet):
        mailbox_capacity = 3
        overflow = Overflow.CONFLATE

        def conflate_key(self, msg):
            return msg[0]

    stage = Stage()
    async with manual_tree(two(stage, Quotes)) as tree:
        ref = tree.ref("a")
        assert ref.tell(Do("hang")), "a key function that raises does not reach the sender"
        await settle()
        assert all(ref.tell(each) for each in [("x", 1), ("y", 1), ("x", 2)])
        asking = asyncio.ensure_future(ref.ask("q"))
        await settle()
        assert ref.tell(("z", 1)) is False
        stage.clear.set()
        assert await asking == "q"
        assert puppet(stage, "a").heard == [("x", 2), ("y", 1), "q"]


@pytest.mark.asyncio
async def test_ping_is_answered_ahead_of_waiting_messages_and_tells_progress():
    stage = Stage()
    async with manual_tree(two(stage)) as tree:
        ref = tree.ref("a")
        for n in range(5):
            ref.tell(n)
        assert await ref.ask(Ping(7)) == Pong(7, ref.incarnation, 0, 5)
        await settle()
        assert (await ref.ask(Ping(8))).handled == 5
        ref.tell(Do("hang"))
        await settle()
        asking = [asyncio.ensure_future(ref.ask(Ping(n), 1.0)) for n in range(CONTROL_PINGS_MAX)]
        await settle()
        with pytest.raises(MailboxFull):
            await ref.ask(Ping(0))
        await tree.run(1.0)
        assert all(isinstance(each.exception(), AskTimeout) for each in asking)
        stage.clear.set()


@pytest.mark.asyncio
async def test_a_monitor_gives_exactly_one_down_with_the_reason():
    stage = Stage()
    async with manual_tree(two(stage)) as tree:
        ref, watcher = tree.ref("b"), puppet(stage, "a")
        first = watcher.ctx.monitor(ref)
        second = watcher.ctx.monitor(ref)
        ref.tell(Do("crash"))
        await tree.run()
        reason = Crash(Boom("b"))
        assert watcher.heard == [Down(first, ref, reason), Down(second, ref, reason)]
        late = watcher.ctx.monitor(ref)
        await tree.run()
        assert watcher.heard[2:] == [Down(late, ref, NoProc(str(reason)))]


@pytest.mark.asyncio
async def test_demonitor_also_takes_back_a_down_that_waits():
    stage = Stage()
    async with manual_tree(two(stage)) as tree:
        ref, watcher = tree.ref("b"), puppet(stage, "a")
        tree.ref("a").tell(Do("hang"))
        await settle()
        monitor = watcher.ctx.monitor(ref)
        ref.tell(Do("stop"))
        await tree.run()
        watcher.ctx.demonitor(monitor)
        stage.clear.set()
        await tree.run()
        assert watcher.heard == []


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("end", "reason"), [("stop", None), ("crash", Crash(LinkedExit("b", Crash(Boom("b")))))]
)
async def test_a_link_carries_failures_and_no_normal_ends(end, reason):
    stage = Stage()
    async with manual_tree(two(stage)) as tree:
        one, other = tree.ref("a"), tree.ref("b")
        puppet(stage, "a").ctx.link(other)
        other.tell(Do(end))
        await tree.run()
        assert str(one.reason) == str(reason)


@pytest.mark.asyncio
async def test_an_actor_that_traps_exits_is_told_instead():
    class Trap(Puppet):
        trap_exit = True

    stage = Stage()
    async with manual_tree(two(stage, Trap)) as tree:
        other, trap = tree.ref("b"), puppet(stage, "a")
        trap.ctx.link(other)
        other.tell(Do("stop"))
        await tree.run()
        trap.ctx.link(other)
        await tree.run()
        assert trap.heard == [
            LinkDown(other, Normal()),
            LinkDown(other, NoProc("normal")),
        ]


@pytest.mark.asyncio
async def test_timers_arrive_on_time_can_be_cancelled_and_die_with_the_actor():
    stage = Stage()
    async with manual_tree(two(stage)) as tree:
        one = puppet(stage, "a")
        one.ctx.send_after(2.0, "second")
        one.ctx.send_after(1.0, "first")
        one.ctx.send_after(1.5, "never").cancel()
        await tree.run(1.9)
        assert one.heard == ["first"]
        await tree.run(0.1)
        assert one.heard == ["first", "second"]
        one.ctx.send_after(10.0, "too late")
        await tree.within(tree.root.terminate_child("a"))
        await tree.within(tree.root.terminate_child("b"))
        assert tree.clock.pending == 1, "only the root's idle tick is left"


@pytest.mark.asyncio
async def test_a_timer_reaches_an_actor_whose_mailbox_overflows():
    class Flooded(Puppet):
        mailbox_capacity = 2
        overflow = Overflow.DROP_OLDEST

    stage = Stage()
    async with manual_tree(two(stage, Flooded)) as tree:
        ref = tree.ref("a")
        ref.tell(Do("hang"))
        await settle()
        puppet(stage, "a").ctx.send_after(1.0, "timer")
        await tree.run(1.0)
        for n in range(9):
            ref.tell(n)
        stage.clear.set()
        await settle()
        assert puppet(stage, "a").heard == ["timer", 7, 8]


@pytest.mark.asyncio
async def test_on_idle_runs_after_each_quiet_second_and_not_while_messages_come():
    class Idler(Puppet):
        idle_s = 1.0

        async def on_idle(self):
            self.heard.append(self.ctx.clock.now())

    stage = Stage()
    async with manual_tree(two(stage, Idler)) as tree:
        await tree.run(2.0)
        assert puppet(stage, "a").heard == [1.0, 2.0]
        for _ in range(4):
            tree.ref("a").tell("m")
            await tree.run(0.6)
        assert [x for x in puppet(stage, "a").heard[2:] if x != "m"] == []
        await tree.run(0.4)
        assert puppet(stage, "a").heard[-1] == pytest.approx(4.8)


@pytest.mark.asyncio
async def test_continue_runs_before_any_message():
    class Continues(Puppet):
        async def init(self, ctx):
            await super().init(ctx)
            ctx.ref.tell("message")
            ctx.continue_with("token")

        async def handle_continue(self, token):
            self.heard.append(token)

    stage = Stage()
    async with manual_tree(two(stage, Continues)) as tree:
        await tree.run()
        assert puppet(stage, "a").heard == ["token", "message"]


@pytest.mark.asyncio
async def test_a_full_mailbox_cannot_starve_the_others():
    stage = Stage()
    async with manual_tree(two(stage)) as tree:
        busy = puppet(stage, "a")
        for n in range(500):
            tree.ref("a").tell(n)
        assert await tree.ref("b").ask("quick") == "quick"
        assert len(busy.heard) < 200
        await settle()
        assert len(busy.heard) == 500


@pytest.mark.asyncio
async def test_checkin_between_slices_keeps_a_long_handler_alive():
    class Slices(Puppet):
        async def handle(self, msg):
            for _ in range(10):
                await self.ctx.clock.sleep(0.5)
                if msg == "checks in":
                    self.ctx.checkin()

    stage = Stage()
    spec = ChildSpec("a", lambda: Slices(stage, "a"), TEMPORARY, checkin=1.0)
    async with manual_tree(nested("root", None, [spec])) as tree:
        ref = tree.ref("a")
        ref.tell("checks in")
        await tree.run(6.0)
        assert ref.alive
        ref.tell("does not")
        await tree.run(6.0)
        assert not ref.alive


@pytest.mark.asyncio
async def test_references_name_one_incarnation():
    stage = Stage()
    async with manual_tree(nested("root", None, [stage.child("a")])) as tree:
        ref = tree.ref("a")
        assert ref == puppet(stage, "a").ctx.ref
        assert ref.id == ref.name == "a"
        assert puppet(stage, "a").ctx.parent == tree.runtime.root
        ref.tell(Do("crash"))
        await tree.run()
        assert tree.ref("a") != ref
        assert len({ref, tree.ref("a")}) == 2
        assert "exited" in repr(ref)
        assert ref.reason == Crash(Boom("a"))
        await tree.within(tree.runtime.stop())
        assert tree.runtime.root.reason == Shutdown()
