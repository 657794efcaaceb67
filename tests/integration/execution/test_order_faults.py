"""The order path when the gateway misbehaves: judged at the exchange, not by the path's word."""

from decimal import Decimal

import pytest

from support.order_world import MemoryStore, enter, order_world
from tradebox.domain.events import AlertRaised
from tradebox.domain.market import Quality, Source
from tradebox.domain.orders import OrderRole, OrderState, OrderType
from tradebox.domain.path import (
    EntryClosed,
    Evidence,
    ExitRequest,
    LinkState,
    MoveStopRequest,
    ProcedureDone,
    RequestDenied,
    RequestRejected,
    ScaleOutRequest,
)
from tradebox.errors import AccountMismatch, BrokerUnavailable, ClientIdInUse, HeartbeatMissed
from tradebox.ports.order_store import IntentRefused
from tradebox.sim.market.actions import Action

SEEN = Evidence(Decimal(100), Source.FINNHUB, Quality.LIVE, 1)


def ended(world, kind):
    return [event for event in world.of(ProcedureDone) if event.kind == kind]


def alerts(world):
    return [event for event in world.published if isinstance(event, AlertRaised)]


def denied(world):
    return [c.check for c in world.store.changes if isinstance(c, IntentRefused)]


async def opened(world, **fields):
    request = enter(**fields)
    await world.ask(request)
    await world.until(lambda: ended(world, "EnterRequest"), "the entry's end")


async def covered(world, position):
    def check():
        held = world.path.holding("p1")
        return held.position == position and held.covered and not world.path.is_busy("p1")

    await world.until(check, f"{position} covered shares")
    assert world.bench.bench.position() == position


@pytest.mark.asyncio
async def test_a_stop_that_never_left_is_no_refusal_and_sells_nothing(tmp_path, monkeypatch):
    """A link that breaks between commit and send says nothing against the stop."""
    async with order_world(tmp_path) as world:
        await opened(world)
        send, left = world.port.send, [3]

        def hiccup(ticket):
            if left[0]:
                left[0] -= 1
                raise BrokerUnavailable("the line is busy")
            send(ticket)

        monkeypatch.setattr(world.port, "send", hiccup)
        exchange = world.bench.bench.exchange
        (stop,) = exchange.open_orders("paper")
        exchange.end("paper", stop.perm_id, world.bench.market.tick())
        await world.until(lambda: not left[0], "three that never left")
        await covered(world, 100)
        assert world.orders(OrderRole.EXIT) == []
        states = [row.state for row in world.orders(OrderRole.STOP)]
        assert states.count(OrderState.NEVER_SENT) == 3


@pytest.mark.asyncio
async def test_a_stop_that_the_bust_of_its_fill_brings_back_stands_where_it_had_come_to(tmp_path):
    async with order_world(tmp_path) as world:
        await opened(world)
        for level in ("96", "98"):
            await world.ask(MoveStopRequest("p1", Decimal(level), SEEN, "trail"))
            await world.until(lambda: not world.path.is_busy("p1"), "the move")
        market, exchange = world.bench.market, world.bench.bench.exchange
        market.show(97.49, 97.51, last=97.5)
        market.print_trade(97.5)
        await world.until(lambda: not world.path.holding("p1").position, "the stop has filled")
        market.show(99.99, 100.01, last=100.0)
        execution = exchange.last_execution("paper")
        exchange.correct("paper", execution.exec_id, 0, 0, market.tick())
        await covered(world, 100)
        (stop,) = exchange.open_orders("paper")
        assert stop.ticket.trigger_micros == 98_000_000
        assert world.judge.faults == []


@pytest.mark.asyncio
@pytest.mark.parametrize("code", [10326, 10327, 10341, 135, 110, 201])
async def test_a_refused_stop_change_is_replaced_never_doubled(tmp_path, code):
    async with order_world(tmp_path) as world:
        await opened(world)
        world.bench.faults.set("refuse_modify", code=code)
        await world.ask(MoveStopRequest("p1", Decimal(97), SEEN, "break even"))
        await world.until(lambda: ended(world, "MoveStopRequest"), "the move")
        stops = world.orders(OrderRole.STOP)
        assert [row.state for row in stops] == [OrderState.CANCELLED, OrderState.WORKING]
        assert world.path.holding("p1").stop_price == Decimal(97)
        assert world.judge.faults == []


@pytest.mark.asyncio
async def test_a_slice_goes_even_where_stops_cannot_be_changed(tmp_path):
    async with order_world(tmp_path) as world:
        await opened(world)
        world.bench.faults.set("refuse_modify")
        await world.ask(ScaleOutRequest("p1", 40, SEEN, "half"))
        await covered(world, 60)
        assert world.judge.faults == []


@pytest.mark.asyncio
async def test_a_rejected_stop_child_is_replaced_by_a_standalone_stop(tmp_path):
    async with order_world(tmp_path) as world:
        world.bench.faults.set("reject_child", count=1)
        await opened(world)
        await covered(world, world.bench.bench.position())
        assert world.judge.faults == []


@pytest.mark.asyncio
async def test_a_refused_entry_is_told_and_leaves_nothing(tmp_path):
    async with order_world(tmp_path) as world:
        world.bench.faults.set("refuse_order")
        await opened(world)
        assert world.of(RequestRejected)[0].code == 201
        assert world.path.holding("p1").position == 0
        assert {row.state for row in world.orders()} <= {
            OrderState.REJECTED,
            OrderState.NEVER_SENT,
            OrderState.CANCELLED,
        }
        assert world.bench.bench.exchange.open_orders("paper") == []


@pytest.mark.asyncio
@pytest.mark.parametrize("lost", [True, False])
async def test_an_order_cut_off_after_its_send_is_found_or_proved_absent(tmp_path, lost):
    async with order_world(tmp_path) as world:
        world.bench.faults.set("close_after_order", count=1, lost=lost)
        await world.ask(enter())
        await world.until(lambda: world.link.state is LinkState.DOWN, "the cut")
        await world.ask(enter(plan_id="p2"))
        assert world.of(RequestDenied)[-1].denied.check == "link"
        await world.link.connect()
        await world.until(lambda: world.link.state is LinkState.CLEAN, "clean")
        await world.until(lambda: ended(world, "EnterRequest"), "the truth")
        position = world.bench.bench.position()
        assert world.path.holding("p1").position == position
        entries = world.orders(OrderRole.ENTRY)
        assert len(entries) == 1, "nothing is sent twice"
        if position == 0:
            assert entries[0].state in (OrderState.NEVER_SENT, OrderState.CANCELLED)
            assert world.of(RequestRejected) == [], "nobody rejected what nobody got"
            assert world.of(EntryClosed)[0].reason == "it never reached the broker"
        await covered(world, position)


@pytest.mark.asyncio
async def test_a_symbol_with_an_unknown_order_takes_no_entry_until_it_is_known(tmp_path):
    async with order_world(tmp_path, rules={"ack_deadline_s": 0.05}) as world:
        world.bench.faults.set("mute_request", message_id=16)
        world.bench.faults.set("delay_ack", delay_s=0.6, count=2)
        await world.ask(enter())
        await world.until(
            lambda: OrderState.SENT_UNKNOWN in {row.state for row in world.orders()}, "unknown"
        )
        await world.ask(enter(plan_id="p2"))
        assert world.of(RequestDenied)[-1].denied.check in ("busy", "unproven")
        world.bench.faults.clear("mute_request")
        await world.until(lambda: ended(world, "EnterRequest"), "the truth")
        await covered(world, 100)


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "fault", ["omit_fill_status", "status_before_fill", "duplicate_status", "perm_id_zero"]
)
async def test_statuses_in_any_shape_book_each_share_once(tmp_path, fault):
    async with order_world(tmp_path) as world:
        world.bench.faults.set(fault)
        await opened(world)
        await world.ask(ScaleOutRequest("p1", 30, SEEN, "slice"))
        await world.until(lambda: ended(world, "ScaleOutRequest"), "the slice")
        await world.ask(ExitRequest("p1", SEEN, "out"))
        await world.until(lambda: ended(world, "ExitRequest"), "the exit")
        assert world.bench.bench.position() == 0
        assert world.path.holding("p1").position == 0
        assert world.judge.faults == []


@pytest.mark.asyncio
async def test_a_cancel_that_meets_the_fill_sells_nothing_twice(tmp_path):
    async with order_world(tmp_path) as world:
        await opened(world)
        world.bench.faults.set("cancel_race", count=1)
        await world.ask(ExitRequest("p1", SEEN, "out"))
        await world.until(lambda: ended(world, "ExitRequest"), "the end")
        assert world.bench.bench.position() == 0
        assert world.orders(OrderRole.EXIT) == [], "the stop sold it all"


@pytest.mark.asyncio
async def test_a_stop_that_the_preset_made_day_is_made_gtc_again(tmp_path):
    async with order_world(tmp_path) as world:
        world.bench.faults.set("preset_tif")
        await world.ask(enter())
        await world.until(lambda: world.of(object), "news")
        world.bench.faults.clear("preset_tif")
        await covered(world, 100)

        def gtc():
            orders = world.bench.bench.exchange.open_orders("paper")
            return [order.ticket.tif.value for order in orders] == ["GTC"]

        await world.until(gtc, "a GTC stop")
        assert world.judge.faults == []


@pytest.mark.asyncio
async def test_an_id_that_rolled_back_is_never_used_again(tmp_path):
    async with order_world(tmp_path) as world:
        await opened(world)
        await world.ask(ExitRequest("p1", SEEN, "out"))
        await world.until(lambda: ended(world, "ExitRequest"), "the exit")
        world.bench.faults.set("id_rollback", by=3)
        await world.restart()
        highest = max(row.order_id for row in world.orders())
        assert world.link.info.next_valid_id <= highest
        world.events.clear()
        await opened(world, plan_id="p2")
        ids = [row.order_id for row in world.orders() if row.plan_id == "p2"]
        assert min(ids) > highest


@pytest.mark.asyncio
async def test_a_restart_in_the_middle_of_a_plan_goes_on_where_the_broker_is(tmp_path):
    async with order_world(tmp_path) as world:
        await opened(world)
        await world.restart()
        plan = world.recovered.plans["p1"]
        assert (plan.entry_filled, plan.entry_average_price) == (100, Decimal("100.0100"))
        await covered(world, 100)
        world.events.clear()
        await world.ask(ExitRequest("p1", SEEN, "out"))
        await world.until(lambda: ended(world, "ExitRequest"), "the exit")
        assert world.bench.bench.position() == 0
        assert alerts(world) == []


@pytest.mark.asyncio
async def test_a_stop_that_fired_while_we_were_away_is_booked_once(tmp_path):
    async with order_world(tmp_path) as world:
        await opened(world)
        await world.stop()
        world.bench.market.show(94.5, 94.6, last=94.55)
        world.bench.market.print_trade(94.5)
        assert world.bench.bench.position() == 0
        world._build()
        await world.start()
        await world.until(lambda: world.path.holding("p1").position == 0, "flat")
        await world.restart()
        sold = [fill for fill in world.store.fills.values() if fill.side.value == "SELL"]
        assert sum(fill.quantity for fill in sold) == 100
        assert world.judge.faults == []


@pytest.mark.asyncio
async def test_without_postgresql_no_entry_leaves_but_exits_do_and_are_replayed(tmp_path):
    store = MemoryStore()
    async with order_world(tmp_path, store=store) as world:
        await opened(world)
        store.is_down = True
        sent = world.link.sent_messages
        await world.ask(enter(plan_id="p2", symbol="MSFT", stop="190"))
        await world.ask(enter(plan_id="p3"))
        assert {event.denied.check for event in world.of(RequestDenied)} & {"audit", "freshness"}
        assert world.link.sent_messages == sent
        await world.ask(ExitRequest("p1", SEEN, "out"))
        await world.until(lambda: ended(world, "ExitRequest"), "the exit")
        assert world.bench.bench.position() == 0
        assert not [row for row in world.orders() if row.role is OrderRole.EXIT]
        assert world.spool.records
        store.is_down = False
        await world.until(lambda: not world.spool.records, "the replay")
        assert [row.state for row in world.orders(OrderRole.EXIT)] == [OrderState.FILLED]
        assert sum(fill.side.sign * fill.quantity for fill in store.fills.values()) == 0


@pytest.mark.asyncio
async def test_the_kill_switch_stops_entries_and_lets_exits_go(tmp_path):
    async with order_world(tmp_path) as world:
        await opened(world)
        (tmp_path / "KILL").touch()
        await world.ask(enter(plan_id="p2"))
        assert world.of(RequestDenied)[-1].denied.check == "kill_switch"
        await world.ask(ExitRequest("p1", SEEN, "out"))
        await world.until(lambda: ended(world, "ExitRequest"), "the exit")
        (tmp_path / "KILL").unlink()
        world.store.rows_by_switch["kill"] = "on"
        await world.until(world.kill.is_set, "the row")


@pytest.mark.asyncio
async def test_a_refusal_is_kept_once_until_it_is_another(tmp_path):
    def kept(world):
        return [c.check for c in world.store.changes if isinstance(c, IntentRefused)]

    async with order_world(tmp_path) as world:
        world.prices.quality = Quality.SUSPECT
        for _ in range(3):
            await world.ask(enter())
        await world.until(lambda: kept(world) == ["freshness"], "one refusal")
        world.kill.set("a test")
        await world.ask(enter())
        await world.ask(enter(plan_id="p2"))
        await world.until(
            lambda: kept(world) == ["freshness", "kill_switch", "kill_switch"], "two more"
        )
        assert len(world.of(RequestDenied)) == 5, "each request is answered"
        world.prices.quality = Quality.LIVE
        world.kill.clear()
        await opened(world)
        await world.ask(ExitRequest("p1", SEEN, "out"))
        await covered(world, 0)
        world.kill.set("a test")
        await world.ask(enter())
        # After a request that went, it is told again.
        await world.until(lambda: kept(world)[3:] == ["kill_switch"], "a fourth")


@pytest.mark.asyncio
async def test_an_external_order_is_left_alone_and_its_symbol_quarantined(tmp_path):
    async with order_world(tmp_path) as world:
        world.bench.bench.submit(900, client=5, kind="LMT", limit=90.0)
        world.link.want_look("test")
        await world.until(lambda: "AAPL" in world.store.quarantined, "quarantine")
        await world.ask(enter())
        assert world.of(RequestDenied)[-1].denied.check == "quarantine"
        assert [a.kind for a in alerts(world)] == ["external_order"]
        assert len(world.bench.bench.exchange.open_orders("paper")) == 1


@pytest.mark.asyncio
async def test_an_external_position_is_left_alone_and_its_symbol_quarantined(tmp_path):
    async with order_world(tmp_path) as world:
        world.bench.bench.submit(900, client=5, quantity=7)
        world.link.want_look("test")
        await world.until(lambda: "AAPL" in world.store.quarantined, "quarantine")
        assert world.bench.bench.position() == 7
        assert [a.kind for a in alerts(world)] == ["position_gap"]
        assert world.link.state is LinkState.CLEAN


@pytest.mark.asyncio
async def test_a_mute_gateway_is_no_flat_account(tmp_path):
    async with order_world(tmp_path) as world:
        await opened(world)
        await world.stop()
        world.bench.faults.set("mute_request", message_id=61)
        world._build()
        await world.start(connect=False)
        await world.link.connect()
        with pytest.raises(BrokerUnavailable, match="positions"):
            await world.link.take_snapshot()
        assert world.link.state is LinkState.SYNCING
        assert world.path.holding("p1").position == 100


@pytest.mark.asyncio
async def test_a_heartbeat_of_a_dead_peer_is_missed(tmp_path):
    async with order_world(tmp_path) as world:
        assert await world.port.heartbeat(1.0) > 0
        world.bench.faults.set("half_open")
        with pytest.raises(HeartbeatMissed):
            await world.port.heartbeat(0.2)


@pytest.mark.asyncio
async def test_a_taken_client_id_halts_and_no_other_is_tried(tmp_path):
    async with order_world(tmp_path) as world:
        world.bench.faults.set("client_id_taken")
        world.link.close("test")
        with pytest.raises(ClientIdInUse):
            await world.link.connect()


@pytest.mark.asyncio
async def test_another_account_gets_the_handshake_and_nothing_else(tmp_path):
    async with order_world(tmp_path) as world:
        await world.stop()
        world.port_number = world.bench.live_address[1]
        world._build()
        with pytest.raises(AccountMismatch, match="manages"):
            await world.link.connect()
        assert world.link.state is LinkState.DOWN
        assert alerts(world)[-1].kind == "account_mismatch"


@pytest.mark.asyncio
async def test_a_limit_entry_beyond_the_collar_never_leaves(tmp_path):
    async with order_world(tmp_path) as world:
        await world.ask(enter(order_type=OrderType.LIMIT, limit_price=Decimal(120)))
        assert world.of(RequestDenied)[-1].denied.check == "collar"
        assert world.orders() == []
        assert world.path.orders_sent == 0


@pytest.mark.asyncio
async def test_a_split_that_took_the_stop_brings_none_back_at_the_old_price(tmp_path):
    async with order_world(tmp_path) as world:
        await opened(world)
        market = world.bench.market
        at_ns = market.clock.now_ns() + 1_000_000_000
        market.actions.append(Action("split", "AAPL", 0, at_ns, numerator=2, denominator=1))
        market.tick(2_000)
        market.show(49.99, 50.01, last=50.0)
        market.print_trade(50.0)
        assert world.bench.bench.position() == 200
        await world.until(lambda: "AAPL" in world.store.quarantined, "a person is told")
        assert world.bench.bench.position() == 200, "a stop at the old level would have sold"
        assert world.bench.bench.exchange.open_orders("paper") == []


@pytest.mark.asyncio
@pytest.mark.parametrize(("new", "old", "held"), [(2, 1, 200), (3, 2, 150), (1, 10, 10)])
async def test_a_split_is_told_by_its_shares_where_its_price_is_held_back(tmp_path, new, old, held):
    """The first price after a split is withheld: what is known is still the old one."""
    async with order_world(tmp_path) as world:
        await opened(world)
        market = world.bench.market
        at_ns = market.clock.now_ns() + 1_000_000_000
        market.actions.append(Action("split", "AAPL", 0, at_ns, numerator=new, denominator=old))
        market.tick(2_000)
        old_price, price = world.prices.last("AAPL"), 100.0 * old / new
        world.prices.last = lambda _symbol: old_price
        market.show(price - 0.01, price + 0.01, last=price)
        market.print_trade(price)
        assert world.bench.bench.position() == held
        await world.until(lambda: "AAPL" in world.store.quarantined, "a person is told")
        await world.until(lambda: "split" in denied(world), "the stop is not placed")
        assert world.bench.bench.exchange.open_orders("paper") == []
        assert len(world.orders(OrderRole.STOP)) == 1


@pytest.mark.asyncio
async def test_a_stop_that_the_broker_ended_is_placed_again_after_a_look(tmp_path):
    async with order_world(tmp_path) as world:
        await opened(world)
        await covered(world, 100)
        (stop,) = world.bench.bench.exchange.open_orders("paper")
        world.bench.bench.cancel(stop.order_id, client=stop.client_id)
        await covered(world, 100)
        assert world.path.holding("p1").stop_price == Decimal(95)
        assert world.judge.faults == []


@pytest.mark.asyncio
async def test_a_change_that_forked_is_looked_up_at_once_and_told(tmp_path):
    async with order_world(tmp_path) as world:
        await opened(world)
        world.bench.faults.set("fork_modify", count=1)
        await world.ask(MoveStopRequest("p1", Decimal(97), SEEN, "trail"))
        await world.until(lambda: "forked_order" in [a.kind for a in alerts(world)], "an alarm")
        assert "AAPL" in world.store.quarantined


@pytest.mark.asyncio
@pytest.mark.parametrize("dies", [False, True])
async def test_the_end_of_one_copy_of_a_forked_stop_brings_no_second_stop(tmp_path, dies):
    async with order_world(tmp_path) as world:
        exchange = world.bench.bench.exchange
        await opened(world)
        world.bench.faults.set("fork_modify", count=1)
        await world.ask(MoveStopRequest("p1", Decimal(97), SEEN, "trail"))
        await world.until(lambda: "AAPL" in world.store.quarantined, "a person is told")
        copies = exchange.open_orders("paper")
        assert len(copies) == 2
        await world.ask(MoveStopRequest("p1", Decimal(98), SEEN, "trail"))
        assert world.of(RequestDenied)[-1].denied.check == "unproven", (
            "a change could make a third copy"
        )
        changed = sum(getattr(one, "kind", "") == "order_change" for one in world.store.changes)
        assert changed == 1, "nor does any look change one of the two"
        world.bench.bench.cancel(copies[0].order_id, client=copies[0].client_id)
        (left,) = exchange.open_orders("paper")
        if dies:
            await world.restart()
        await covered(world, 100)
        assert len(world.orders(OrderRole.STOP)) == 1
        (still,) = exchange.open_orders("paper")
        assert still.perm_id == left.perm_id
        await world.ask(ExitRequest("p1", SEEN, "out"))
        await world.until(lambda: ended(world, "ExitRequest"), "the exit")
        assert world.bench.bench.position() == 0
        assert exchange.open_orders("paper") == []


@pytest.mark.asyncio
async def test_an_exit_cancels_every_copy_of_a_forked_stop_before_it_sells(tmp_path):
    async with order_world(tmp_path) as world:
        await opened(world)
        world.bench.faults.set("fork_modify", count=1)
        await world.ask(MoveStopRequest("p1", Decimal(97), SEEN, "trail"))
        await world.until(lambda: "AAPL" in world.store.quarantined, "a person is told")
        world.judge.faults.clear()  # the broker itself made the second stop
        await world.ask(ExitRequest("p1", SEEN, "out"))
        await world.until(lambda: ended(world, "ExitRequest"), "the exit")
        assert world.bench.bench.position() == 0
        assert world.bench.bench.exchange.open_orders("paper") == []
        assert len(world.orders(OrderRole.STOP)) == 1
        assert len(world.orders(OrderRole.EXIT)) == 1
