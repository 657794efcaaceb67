"""What the recorder writes, the stand-in world trades again: the same prints at the same times."""

import pytest

from support.decisions import SYMBOLS, day_ticks
from support.finnhub_double import eventually
from support.ticks import LIMITS, Market
from tradebox.actors.feed_slot import AdmissionGate, Outcome
from tradebox.actors.market_hub import MarketHub
from tradebox.actors.recorder import Recorder, TapeBook
from tradebox.domain.market import Quality
from tradebox.sim.market.data import load
from tradebox.sim.market.replay import Replay
from tradebox.sim.market.tape import with_tape
from tradebox.supervision.clock import MonotonicClock
from tradebox.supervision.gate import EpochGate
from tradebox.supervision.spec import ChildSpec
from tradebox.supervision.tree import Runtime

MINUTES = 20


@pytest.mark.asyncio
async def test_a_recorded_day_is_traded_again_print_by_print(tmp_path):
    market = Market()
    hub = MarketHub(market, LIMITS.stale_ns_max)
    gate = AdmissionGate(EpochGate(1, 1), hub.deliver)
    epoch = gate.acquire("feed_a")
    book = TapeBook()
    runtime = Runtime(MonotonicClock())
    folder = tmp_path / "tape"
    await runtime.start(
        ChildSpec(id="recorder", start=lambda: Recorder(book, folder, hub, market, 5))
    )
    ticks = day_ticks(seed=3, minutes=MINUTES)
    half = len(ticks) // 2
    for tick in ticks[:half]:
        gate.push(epoch, Outcome(tick.source, tick.key, tick, Quality.LIVE, 0))
    await eventually(folder.exists)
    for tick in ticks[half:]:
        gate.push(epoch, Outcome(tick.source, tick.key, tick, Quality.LIVE, 0))
    await runtime.stop()
    (path,) = folder.iterdir()

    taped = with_tape(load(), path)
    replay = Replay(taped, seed=99)
    again = sorted(
        (one.event_ns, symbol, one.price_micros, one.size)
        for symbol in SYMBOLS
        for minute in range(MINUTES)
        for one in replay.prints(symbol, taped.first_number, minute)
    )
    assert again == [(tick.event_ns, tick.symbol, tick.price_micros, tick.size) for tick in ticks]
    assert len(again) > 500
