"""A trading engine under harm: every actor, both of each pair, the engine, the stores."""

from collections.abc import Callable, Iterator, Sequence

import pytest

from support.chaos import Chaos, told_lines
from support.run_bench import bench

PAIRS = {
    "feeds": ("market.feed_a", "market.feed_b"),
    "managers": ("managers.manager_a", "managers.manager_b"),
}
HELD = ("SPY", "XOM", "C", "WFC", "INTC", "ORCL", "MCD", "WMT", "DIS")
"""With what the demo watches beside, above 500 ticks a second at speed 60."""

pytestmark = [pytest.mark.xdist_group("faults"), pytest.mark.timeout(2400)]


def chaos(speed: str, piece: str, symbols: Sequence[str] = ("SPY",)) -> Iterator[Chaos]:
    with bench() as box:
        yield Chaos.started(box, speed, piece, symbols)


@pytest.fixture
def quick() -> Iterator[Chaos]:
    yield from chaos("20", "quick")


@pytest.fixture
def fast(piece: str) -> Iterator[Chaos]:
    yield from chaos("60", piece, HELD)


def refusals_change_nothing(run: Chaos) -> None:
    assert run.ask("harm", actor="nobody", how="crash") is None
    assert run.ask("harm", actor="alerts", how="tickle") is None
    assert run.ask("flood", per_s="much", seconds=1) is None
    assert run.actor("nobody") == {}


def the_dashboard_stands_a_flood(run: Chaos) -> None:
    seen = run.ask("flood", per_s=2_000, seconds=0.5)
    assert seen is not None
    assert seen["took_s"] >= 0.5
    assert seen["told"] > 0
    assert seen["handled"] > 0


def feeds_swap_on_request(run: Chaos) -> None:
    swapped = run.ask("swap_feeds")
    assert swapped is not None
    assert {swapped["was"], swapped["active"]} == set(PAIRS["feeds"])
    run.run.wait_event("FeedFailover", cause="planned")


def nothing_was_imported(run: Chaos) -> None:
    header = run.header()
    assert header["imported_late"] == []
    assert header["vitals"]["imports_after_ready"] == 0
    assert header["vitals"]["lag_max_ms"] > 0


def test_what_matters_most_is_survived(quick: Chaos) -> None:
    refusals_change_nothing(quick)
    feeds_swap_on_request(quick)
    the_dashboard_stands_a_flood(quick)
    nothing_was_imported(quick)
    quick.harm("crash", "trading.live.controller")
    quick.harm("burn", "trading.paper.controller")
    quick.harm("kill", *PAIRS["feeds"])
    quick.harm("hang", *PAIRS["managers"])
    for name in ("alerts", "metrics", "trading.paper.link"):
        quick.harm("deaf", name)
    quick.kill_server("postgres", engine_too=True)
    whole = quick.finish()
    assert len(whole["faults"]) == 8


def harm_each(how: str) -> Callable[[Chaos], int]:
    """Return what does this to every worker in turn, and says how many there are."""

    def faults(run: Chaos) -> int:
        names = run.actors()
        for name in names:
            run.harm(how, name)
        assert len(names) > 15
        return len(names)

    return faults


def burn_controllers(run: Chaos) -> int:
    for name in ("trading.live.controller", "trading.paper.controller"):
        run.harm("burn", name)
    return 2


def harm_pairs(run: Chaos) -> int:
    for pair in PAIRS.values():
        for how in ("kill", "hang"):
            run.harm(how, *pair)
    return 4


def kill_processes(run: Chaos) -> int:
    for server in ("postgres", "redis"):
        run.kill_server(server)
        run.kill_server(server, engine_too=True)
    for _ in range(5):
        run.kill_engine()
    return 9


PIECES = {how: harm_each(how) for how in ("crash", "kill", "hang", "deaf", "busy")} | {
    "burn": burn_controllers,
    "pairs": harm_pairs,
    "processes": kill_processes,
}


@pytest.mark.slow
@pytest.mark.parametrize("piece", PIECES)
def test_every_fault_of_the_matrix_is_survived(
    fast: Chaos, piece: str, capsys: pytest.CaptureFixture[str]
) -> None:
    faults = PIECES[piece](fast)
    whole = fast.finish()
    with capsys.disabled():
        print("", *told_lines(whole["faults"]), sep="\n")
    assert len(whole["faults"]) == faults
