"""What the broker says of a symbol before and while we hold it: margin by what-if, and halts."""

from dataclasses import replace
from decimal import Decimal

import pytest

from support import order_world as worlds
from support.order_world import enter, order_world
from tradebox.config import AccountSettings
from tradebox.domain.events import AlertRaised
from tradebox.domain.market import Quality, Source
from tradebox.domain.orders import AccountName, OrderRole, Side
from tradebox.domain.path import (
    Evidence,
    ExitRequest,
    ProcedureDone,
    RequestDenied,
    ScaleOutRequest,
)
from tradebox.execution.path_world import PathRules
from tradebox.execution.procedures import Look

SEEN = Evidence(Decimal(100), Source.FINNHUB, Quality.LIVE, 1)
WIDE = {
    "order_notional_usd_max": Decimal(10**9),
    "position_notional_usd_max": Decimal(10**9),
    "gross_notional_usd_max": Decimal(10**9),
    "initial_margin_share": Decimal("0.01"),
}


def wide_rules():
    limits = PathRules.of(AccountSettings(), "sim", AccountName.PAPER).limits
    return {"limits": replace(limits, **WIDE)}


def see(world, **senses):
    """Let the path see more of the world."""
    path = world.path
    path._world = path._views._world = path._sender._world = replace(path._world, **senses)


def ended(world, kind):
    return [event for event in world.of(ProcedureDone) if event.kind == kind]


def denials(world):
    return [event.denied.check for event in world.of(RequestDenied)]


@pytest.mark.asyncio
async def test_the_brokers_margin_is_asked_ahead_and_the_gate_counts_with_it(tmp_path, monkeypatch):
    monkeypatch.setattr(worlds.KnownFacts, "symbols", ("AAPL",))
    async with order_world(tmp_path, rules=wide_rules()) as world:
        margins = world.path._margins
        await world.until(
            lambda: all(margins.share("AAPL", side) > 0 for side in Side), "both margins"
        )
        share = margins.share("AAPL", Side.BUY)
        assert Decimal("0.1") < share <= 1
        assert world.orders() == []
        assert not list(world.bench.bench.exchange.open_orders("paper"))
        assert world.bench.bench.position() == 0
        too_many = int(Decimal(100_000) / share / 100) + 50
        await world.ask(enter(quantity=too_many, stop="99.9"))
        assert denials(world) == ["margin"]
        await world.ask(enter(quantity=100, stop="99"))
        await world.until(lambda: ended(world, "EnterRequest"), "the entry")


@pytest.mark.asyncio
async def test_without_an_answer_the_gate_counts_with_its_own_share(tmp_path):
    async with order_world(tmp_path, rules=wide_rules()) as world:
        assert world.path._margins.share("AAPL", Side.BUY) == 0
        await world.ask(enter(quantity=2_500, stop="99.9"))
        assert "margin" not in denials(world)


@pytest.mark.asyncio
async def test_an_exit_in_a_known_halt_leaves_the_stop_alone_and_goes_on_after_it(tmp_path):
    async with order_world(tmp_path) as world:
        await world.ask(enter())
        await world.until(lambda: ended(world, "EnterRequest"), "the entry")
        see(world, is_halted=world.bench.market.is_halted)
        world.bench.market.halt("AAPL")
        (stop,) = world.bench.bench.exchange.open_orders("paper")
        for request in (ExitRequest("p1", SEEN, "out"), ScaleOutRequest("p1", 10, SEEN, "half")):
            await world.ask(request)
            assert denials(world)[-1] == "halt"
        assert list(world.bench.bench.exchange.open_orders("paper")) == [stop]
        assert world.path.holding("p1").covered
        world.bench.market.halt("AAPL", is_halted=False)
        world.bench.market.tick(1_000)
        await world.ask(ExitRequest("p1", SEEN, "out"))
        await world.until(lambda: world.bench.bench.position() == 0, "flat")
        assert world.judge.faults == []


@pytest.mark.asyncio
async def test_a_halt_is_not_over_because_its_teller_is_gone(tmp_path):
    """A teller that goes away cannot say that it ended: a newer price does."""
    async with order_world(tmp_path) as world:
        await world.ask(enter())
        await world.until(lambda: ended(world, "EnterRequest"), "the entry")
        see(world, is_halted=world.bench.market.is_halted)
        world.bench.market.halt("AAPL")
        await world.until(lambda: world.path._views.is_halted("AAPL"), "it is heard")
        await world.until(lambda: "AAPL" in world.path._views.halts, "without an exit")
        see(world, is_halted=lambda _: False)
        (stop,) = world.bench.bench.exchange.open_orders("paper")
        await world.ask(ExitRequest("p1", SEEN, "out"))
        assert denials(world) == ["halt"]
        assert list(world.bench.bench.exchange.open_orders("paper")) == [stop]


@pytest.mark.asyncio
async def test_a_halt_that_is_heard_while_an_exit_waits_leaves_the_stop_alone(tmp_path):
    """The exit was begun in time; before its first order the halt is there."""
    async with order_world(tmp_path) as world:
        await world.ask(enter())
        await world.until(lambda: ended(world, "EnterRequest"), "the entry")
        (stop,) = world.bench.bench.exchange.open_orders("paper")
        desk = world.path._desks["p1"]
        desk.denied(Look("held up"), world.clock.now() + 0.3)
        await world.ask(ExitRequest("p1", SEEN, "out"))
        assert world.path.is_busy("p1")
        see(world, is_halted=world.bench.market.is_halted)
        world.bench.market.halt("AAPL")
        await world.until(lambda: ended(world, "ExitRequest"), "it is given up")
        assert ended(world, "ExitRequest")[0].position_left == 100
        assert list(world.bench.bench.exchange.open_orders("paper")) == [stop]
        assert world.path.holding("p1").covered


@pytest.mark.asyncio
async def test_a_stop_that_a_halt_refuses_is_asked_for_until_it_is_back(tmp_path):
    """Nobody tells of the halt but the refusal of the exit, and its end has no price."""
    patience = replace(worlds.QUICK, halt_s=0.1)
    async with order_world(tmp_path, rules={"patience": patience}) as world:
        await world.ask(enter())
        await world.until(lambda: ended(world, "EnterRequest"), "the entry")
        world.bench.market.halt("AAPL")
        await world.ask(ExitRequest("p1", SEEN, "out"))
        stops = lambda: world.orders(OrderRole.STOP)  # noqa: E731
        await world.until(lambda: len(stops()) > 4, "stops that are refused, and no exit for it")
        assert [row.role for row in world.orders()].count(OrderRole.EXIT) == 1
        told = [event.text for event in world.published if isinstance(event, AlertRaised)]
        assert [text for text in told if "halted before the exit" in text] == [
            "p1 AAPL: halted before the exit, its stop is off: 100 shares wait for a stop"
        ]
        world.bench.market.show(199.99, 200.01, symbol="MSFT", last=200.0)
        await world.ask(enter("p2", symbol="MSFT", stop="190"))
        assert denials(world) == [], "what a halt refuses says nothing against other symbols"
        world.bench.market.halt("AAPL", is_halted=False)
        await world.until(lambda: world.path.holding("p1").covered, "the stop is back")
        assert world.bench.bench.position() == 100
        assert world.judge.faults == []


@pytest.mark.asyncio
async def test_an_exit_that_finds_a_halt_ends_when_trading_goes_on(tmp_path):
    """The broker's 154 is what tells of it: the next request waits for a newer price."""
    async with order_world(tmp_path) as world:
        await world.ask(enter())
        await world.until(lambda: ended(world, "EnterRequest"), "the entry")
        await world.ask(enter("p2", symbol="MSFT", stop="190"))
        world.bench.market.halt("AAPL")
        await world.ask(ExitRequest("p1", SEEN, "out"))
        views = world.path._views
        await world.until(lambda: "AAPL" in views.halts, "the broker's word")
        assert views.is_halted("AAPL")
        assert not views.is_halted("MSFT")
        world.bench.market.halt("AAPL", is_halted=False)
        world.bench.market.print_trade(100.0)
        assert not views.is_halted("AAPL")
        await world.until(lambda: world.path.holding("p1").covered, "flat, or its stop again")
        held = world.path.holding("p1").position
        await world.until(lambda: world.bench.bench.position() == held, "one truth")
        assert world.judge.faults == []


@pytest.mark.asyncio
@pytest.mark.parametrize(("spread", "check"), [(Decimal("0.03"), "spread"), (None, "spread")])
async def test_a_wide_or_unknown_quote_takes_no_entry(tmp_path, spread, check):
    async with order_world(tmp_path) as world:
        see(world, spread_share=lambda _: spread)
        await world.ask(enter())
        assert denials(world) == [check]
        assert world.orders() == []
