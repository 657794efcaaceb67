"""The composed world: the exchange acts before any client of the vendor can see the price."""

import asyncio
import hashlib
import json
from pathlib import Path

import pytest
from websockets.asyncio.client import connect

from tradebox.sim.exchange.orders import OrderType, Side, Status, Ticket, Tif
from tradebox.sim.home import SimHome
from tradebox.sim.market.data import load
from tradebox.sim.runner import SimOptions, World, free_ports, ready_text
from tradebox.supervision.clock import yield_turn

DEADLINE_S = 20.0


def stop(world: World, side: Side, trigger_micros: int) -> Ticket:
    return Ticket(
        symbol="AAPL",
        con_id=world.market.instrument("AAPL").con_id,
        side=side,
        quantity=10,
        order_type=OrderType.STP,
        trigger_micros=trigger_micros,
        tif=Tif.GTC,
    )


@pytest.mark.asyncio
async def test_a_stop_has_fired_before_its_price_is_on_the_vendors_wire(tmp_path: Path) -> None:
    home = SimHome(tmp_path)
    world = World(home, 1.0, (0, 0, 0, 0, 0, 0))
    await world.start()
    key = home.identity.finnhub_key
    try:
        async with connect(f"{world.ready()['finnhub_ws']}/?token={key}") as socket:
            await socket.send('{"type":"subscribe","symbol":"AAPL"}')
            await socket.send("answer me")
            await asyncio.wait_for(socket.recv(), DEADLINE_S)
            at_ns = world.clock.now_ns()
            trigger = world.market.quote("AAPL").last_micros - 20_000
            ticket = stop(world, Side.SELL, trigger)
            world.exchange.submit("paper", 1, 1, ticket, at_ns)
            order = world.exchange.open_orders("paper")[0]
            while order.status is not Status.FILLED:
                next_ns = world.market.next_trade("AAPL").event_ns
                before = world.market.delivered
                assert world.finnhub.sent_frames == 1
                while not world.market.advance(next_ns, 100):
                    await yield_turn()
                assert world.market.delivered > before
                live = world.exchange.open_orders("paper")
                order = live[0] if live else world.exchange.completed_orders("paper", next_ns)[0]
            world.finnhub.flush()
            rows: list[dict] = []
            async with asyncio.timeout(DEADLINE_S):
                while not rows or rows[-1]["t"] * 1_000_000 < next_ns:
                    rows += json.loads(await socket.recv())["data"]
            crossing = [row for row in rows if round(row["p"] * 1_000_000) <= trigger]
            assert crossing[-1] == rows[-1]
    finally:
        await world.stop()
        home.close()


@pytest.mark.asyncio
async def test_a_lost_clock_file_does_not_turn_the_market_back(tmp_path: Path) -> None:
    home = SimHome(tmp_path)
    world = World(home, 1.0, (0, 0, 0, 0, 0, 0))
    later_ns = world.clock.now_ns() + 10**13
    world.exchange.submit("paper", 1, 1, stop(world, Side.BUY, 200_000_000), later_ns)
    await world.stop()
    home.clock_file.unlink()
    again = World(home, 1.0, (0, 0, 0, 0, 0, 0))
    assert again.clock.now_ns() >= later_ns
    assert len(again.exchange.open_orders("paper")) == 1
    await again.stop()
    home.close()


def test_ports_of_the_last_time_are_taken_where_they_are_free() -> None:
    assert free_ports(()) == (0, 0, 0, 0, 0, 0)
    assert free_ports((4001, 7497, 4002, 7496, 4001, 4002)) == (0, 0, 0, 0, 0, 0)


def test_a_ready_line_is_one_line(tmp_path: Path) -> None:
    ready = {"control": "http://127.0.0.1:1", "yahoo": None}
    assert json.loads(ready_text(ready, as_json=True)) == ready
    assert ready_text(ready, as_json=True).count("\n") == 1
    assert "yahoo" not in ready_text(ready, as_json=False)
    SimOptions(tmp_path, ports=(0, 0, 0, 0, 0, 0)).check()


def test_the_shipped_data_is_what_the_licence_page_describes() -> None:
    data = load()
    assert len(data.series) == 41
    kinds = {one.instrument.symbol for one in data.series if one.minutes}
    assert kinds == {"SPY"}
    assert {len(one.days) for one in data.series} == {20, 758}
    folder = Path(load.__wrapped__.__code__.co_filename).parents[1] / "data"
    page = (folder / "PROVENANCE.md").read_text()
    for path in folder.glob("*.gz"):
        assert digest_of(path) in page
    assert sum(path.stat().st_size for path in folder.glob("*.gz")) < 2_000_000


def digest_of(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
