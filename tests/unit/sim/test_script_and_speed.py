"""Scripts, and that the same seed and script make the same ledger at any speed."""

import asyncio
import json
from pathlib import Path

import pytest

from tradebox.errors import ConfigInvalid
from tradebox.sim.home import SimHome
from tradebox.sim.market import hours
from tradebox.sim.market.data import load
from tradebox.sim.runner import SERVERS, World
from tradebox.sim.script import read_script

PORTS = (0,) * len(SERVERS)
pytestmark = pytest.mark.timeout(240)
SYMBOLS = ("SPY", "AAPL", "NFLX")
BUY = {"do": "submit", "side": "BUY", "quantity": 100}
ROWS = [
    {**BUY, "after_s": 3, "order_id": 1, "symbol": "AAPL", "transmit": False},
    {
        "do": "submit", "after_s": 3, "order_id": 2, "symbol": "AAPL", "side": "SELL",
        "quantity": 100, "type": "STP", "trigger": 20.0, "tif": "GTC", "parent_id": 1,
    },
    {**BUY, "after_s": 4.5, "order_id": 1, "symbol": "SPY", "account": "live", "quantity": 7},
    {**BUY, "after_s": 60, "order_id": 3, "symbol": "NFLX", "type": "LMT", "limit": 100.0},
    {
        "do": "submit", "after_s": 61, "order_id": 4, "symbol": "AAPL", "side": "SELL",
        "quantity": 40, "type": "TRAIL", "trail": 0.1, "tif": "GTC",
    },
    {"do": "fault", "after_s": 100, "name": "market.halt", "symbol": "NFLX"},
    {"do": "fault", "after_s": 110.5, "name": "market.gap", "symbol": "AAPL", "percent": 3.5},
    {**BUY, "after_s": 120, "order_id": 5, "symbol": "NFLX"},
    {"do": "fault", "after_s": 200, "name": "market.resume", "symbol": "NFLX"},
    {"do": "cancel", "after_s": 300, "order_id": 3},
    {**BUY, "after_s": 400, "order_id": 6, "symbol": "SPY", "type": "MOC"},
    {"do": "fault", "after_s": 500, "name": "market.split", "symbol": "SPY"},
]  # fmt: skip


class FakeMono:
    def __init__(self) -> None:
        self.now_ns = 10**12

    def __call__(self) -> int:
        return self.now_ns


class Run:
    """A world whose real time a test moves."""

    def __init__(
        self, folder: Path, speed: float, seed: int = 3, *, whole_day: bool = False
    ) -> None:
        self.mono = FakeMono()
        self.home = SimHome(folder / f"{speed}-{seed}", seed)
        only = load().only(SYMBOLS)
        self.world = World(self.home, speed, PORTS, None, only, self.mono, whole_day=whole_day)
        self.world.exchange.open()
        self.world.exchange.on_time(self.world.clock.begin_ns)

    def until(self, market_s: float, step_s: float) -> None:
        """Take real steps until so much market time has passed, the lease renewed each."""
        clock, pump = self.world.clock, self.world.pump
        end_ns = clock.begin_ns + round(market_s * hours.SECOND_NS)
        while clock.now_ns() < end_ns:
            left_ns = (end_ns - clock.now_ns()) / clock.speed
            self.mono.now_ns += max(1, min(round(step_s * hours.SECOND_NS), round(left_ns)))
            clock.adopt(clock.proposal())
            now_ns = min(clock.now_ns(), end_ns)
            while not pump.turn(now_ns):
                pass

    def digest(self) -> str:
        return self.world.exchange.ledger_digest()

    def close(self) -> None:
        self.world.exchange.close()
        self.home.close()


def around(run: Run, market_s: float) -> tuple[int, int]:
    """Return the arguments that ask for the last two ticks up to the first one after a time."""
    at_ns = run.world.clock.begin_ns + round(market_s * hours.SECOND_NS)
    (first,) = run.world.market.ticks("AAPL", at_ns, 2**62, 1)
    return first.trade.event_ns, -2


@pytest.mark.parametrize("market_s", [660.0])
def test_seed_and_script_make_the_ledger_at_any_speed(tmp_path: Path, market_s: float) -> None:
    digests = {}
    for speed, step_s in ((1.0, 0.9), (20.0, 0.31), (200.0, 0.05), (200.0, 0.7)):
        run = Run(tmp_path / str(step_s), speed)
        run.world.script.add(ROWS)
        run.until(market_s, step_s)
        digests[speed, step_s] = run.digest()
        exchange = run.world.exchange
        assert exchange.positions("live")["SPY"].quantity == 7
        assert exchange.positions("paper")["AAPL"].quantity in (0, 60, 100)
        before, after = run.world.market.ticks("AAPL", 0, *around(run, 110.5))
        assert after.trade.price_micros > 1.02 * before.trade.price_micros
        run.close()
    assert len(set(digests.values())) == 1, digests


def test_another_seed_makes_another_ledger(tmp_path: Path) -> None:
    digests = set()
    for seed in (3, 4):
        run = Run(tmp_path, 20.0, seed)
        run.world.script.add(ROWS)
        run.until(120, 1.0)
        digests.add(run.digest())
        run.close()
    assert len(digests) == 2


def test_auction_split_and_restart_over_a_night(tmp_path: Path) -> None:
    run = Run(tmp_path, 200.0)
    run.world.script.add([*ROWS, {**BUY, "after_s": 550, "order_id": 9, "symbol": "SPY"}])
    session = hours.session_from(run.world.clock.begin_ns)
    run.until((session.close_ns - session.open_ns) // hours.SECOND_NS + 30, 0.2)
    spy = run.world.exchange.positions("paper")["SPY"].quantity
    assert spy == 200
    closing = run.world.exchange.executions("paper", session.close_ns)[-1]
    assert closing.at_ns == session.close_ns
    run.close()
    home = SimHome(tmp_path / "200.0-3", 3)
    again = World(home, 200.0, PORTS, None, load().only(SYMBOLS), run.mono)
    again.exchange.open()
    again.exchange.on_time(again.clock.begin_ns)
    following = hours.session(session.number + 1)
    again.market.advance(following.open_ns + 10**9, 10**6)
    again.exchange.on_time(following.open_ns + 10**9)
    assert again.exchange.positions("paper")["SPY"].quantity == 2 * spy
    before, after = again.market.raw_bars("SPY", 86_400, 2**62, 1), again.market.quote("SPY")
    assert after.last_micros < 0.7 * before[-1].close_micros
    again.exchange.close()
    home.close()


@pytest.mark.parametrize(
    ("row", "match"),
    [
        ({"do": "dance", "after_s": 1}, "one of submit"),
        ({"do": "cancel", "order_id": 1}, "after_s"),
        ({"do": "cancel", "after_s": -1, "order_id": 1}, "out of range"),
        ({"do": "submit", "after_s": 1, "order_id": 1, "symbol": "AAPL", "side": "UP"}, "UP"),
        ({**BUY, "after_s": 1, "order_id": 1, "symbol": "AAPL", "account": "x"}, "no account"),
        ({"do": "fault", "after_s": 1}, "name"),
        ({"do": "fault", "after_s": 1, "name": "market.nothing"}, "no fault 'nothing'"),
        ({"do": "fault", "after_s": 1, "name": "nowhere.halt"}, "no board 'nowhere'"),
        ({"do": "fault", "after_s": 1, "name": "market.halt", "symbol": "NO"}, "no symbol 'NO'"),
        ({"do": "fault", "after_s": 1, "name": "market"}, "name is board.fault"),
        ({"do": "clear", "after_s": 1, "name": "gateway.none"}, "no fault 'none'"),
        ({"do": "cancel", "after_s": 1, "order_id": 1, "client_id": "x"}, "invalid literal"),
        ({"do": "cancel", "after_s": 1, "order_id": 0}, "order_id is 1 or more"),
        ({**BUY, "after_s": 1, "order_id": 1, "symbol": "NONE"}, "no symbol 'NONE'"),
        ({**BUY, "after_s": 1, "order_id": 1, "symbol": "SPY", "quantity": 0}, "quantity is 1"),
        ({**BUY, "after_s": 1, "order_id": 1, "symbol": "SPY", "limt": 5}, "no 'limt'"),
        (5, "one of submit"),
    ],
)
def test_a_wrong_row_is_refused_and_nothing_is_taken(
    tmp_path: Path, row: object, match: str
) -> None:
    run = Run(tmp_path, 1.0)
    with pytest.raises(ConfigInvalid, match=match):
        run.world.script.add([ROWS[0], row])
    assert run.world.script.next_ns == 2**62
    run.close()


def test_a_script_file_is_json_lines(tmp_path: Path) -> None:
    path = tmp_path / "script.jsonl"
    path.write_text("\n".join(json.dumps(row) for row in ROWS) + "\n\n")
    assert read_script(path) == ROWS
    for text, line in (("{", 1), ('{"do": 1}\n\n{\n', 3), ("[" * 100_000, 1)):
        path.write_text(text)
        match = f"cannot be read at line {line} .*: give one JSON object per line"
        with pytest.raises(ConfigInvalid, match=match):
            read_script(path)


def test_faults_of_the_market_are_judged(tmp_path: Path) -> None:
    run = Run(tmp_path, 1.0)
    for name, arguments, match in (
        ("market.halt", {"symbol": "NONE"}, "no symbol"),
        ("market.split", {"symbol": "SPY", "numerator": 0}, "give 1 to 1000"),
        ("market.halt", {"symbol": "NONE", "on": "open"}, "no symbol"),
        ("market.dividend", {"symbol": "SPY", "amount": -1.0, "after_s": 9}, "out of range"),
        ("nowhere.halt", {}, "no board"),
    ):
        with pytest.raises(ConfigInvalid, match=match):
            run.world.set_fault(name, arguments)
    run.world.set_fault("market.dividend", {"symbol": "SPY", "amount": 0.25})
    run.world.clear_fault("market.halt")
    rows = [row for row in run.world.exchange._ledger.rows() if row["kind"] == "action_announced"]
    assert [row["amount_micros"] for row in rows] == [250_000]
    run.close()


@pytest.mark.asyncio
async def test_the_open_and_the_close_are_cues(tmp_path: Path) -> None:
    run = Run(tmp_path, 1.0)
    run.world.set_fault("finnhub.bad_key", {"on": "close"})
    session = hours.session_from(run.world.clock.begin_ns)
    run.world._cue(session.close_ns - 1)
    assert not run.world.boards["finnhub"].is_set("bad_key")
    run.world._cue(session.close_ns)
    await asyncio.sleep(0)
    assert run.world.boards["finnhub"].is_set("bad_key")
    run.close()


def test_the_morning_is_the_same_at_any_speed(tmp_path: Path) -> None:
    row = {**BUY, "order_id": 1, "symbol": "AAPL", "type": "LMT", "limit": 105.0}
    row |= {"outside_rth": True, "tif": "GTC"}
    found = set()
    for speed, step_s in ((20.0, 0.25), (200.0, 0.01)):
        run = Run(tmp_path, speed, whole_day=True)
        run.world.script.add([{**row, "after_s": 30}])
        run.until(600, step_s)
        assert run.world.clock.now_ns() < hours.session(0).open_ns
        assert run.world.exchange.positions("paper")["AAPL"].quantity == 100
        found.add(run.digest())
        run.close()
    assert len(found) == 1
