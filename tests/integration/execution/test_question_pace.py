"""Questions about stocks wait for their turn, so that the gateway's pace is left to orders."""

import asyncio

import pytest

from support.finnhub_double import eventually
from support.tws_bench import TwsBench
from tradebox.adapters.ibkr.orders.port import IbOrderPort
from tradebox.supervision.clock import ManualClock

ASKED = 40
PER_S = 15


@pytest.mark.asyncio
async def test_a_flood_of_questions_leaves_the_pace_to_orders():
    bench = await TwsBench(None).start()
    clock = ManualClock()
    port = IbOrderPort(*bench.address, 11, clock, questions_per_s=PER_S)
    try:
        await port.connect(lambda _: None)
        asked = [asyncio.ensure_future(port.instrument("AAPL", 20.0)) for _ in range(ASKED)]

        def answered():
            return sum(one.done() for one in asked)

        await eventually(lambda: answered() == PER_S)
        snapshot = await port.snapshot(5.0)
        assert snapshot.open_orders == ()
        assert answered() == PER_S, "what is no question about a stock does not wait behind them"
        for _ in range(PER_S):
            await clock.run_for(1.01 / PER_S)
        await eventually(lambda: answered() == 2 * PER_S)
        asked.pop().cancel()
        for _ in range(2 * PER_S):
            await clock.run_for(1.01 / PER_S)
        found = await asyncio.gather(*asked)
        assert {one.symbol for one in found} == {"AAPL"}
        waiting = [asyncio.ensure_future(port.instrument("AAPL", 20.0)) for _ in range(ASKED)]
        await eventually(lambda: any(one.done() for one in waiting))
        port.close()
        for one in waiting:
            one.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
    finally:
        port.close()
        await bench.stop()
