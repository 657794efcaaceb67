"""A trading engine under harm: every actor, both of each pair, the engine, the stores."""

from collections.abc import Iterator

import pytest

from support.chaos import Chaos, told_lines
from support.run_bench import bench

PAIRS = {
    "feeds": ("market.feed_a", "market.feed_b"),
    "managers": ("managers.manager_a", "managers.manager_b"),
}
pytestmark = [pytest.mark.xdist_group("faults"), pytest.mark.timeout(2400)]


def chaos(speed: str) -> Iterator[Chaos]:
    with bench() as box:
        yield Chaos.started(box, speed)


@pytest.fixture
def quick() -> Iterator[Chaos]:
    yield from chaos("20")


@pytest.fixture
def fast() -> Iterator[Chaos]:
    yield from chaos("60")


def refusals_change_nothing(run: Chaos) -> None:
    assert run.ask("harm", actor="nobody", how="crash") is None
    assert run.ask("harm", actor="alerts", how="tickle") is None
    assert run.actor("nobody") == {}


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


@pytest.mark.slow
def test_every_fault_of_the_matrix_is_survived(
    fast: Chaos, capsys: pytest.CaptureFixture[str]
) -> None:
    names = fast.actors()
    for how in ("crash", "kill", "hang", "deaf"):
        for name in names:
            fast.harm(how, name)
    for name in ("trading.live.controller", "trading.paper.controller", "market.feed_a"):
        fast.harm("busy", name)
    for name in ("trading.live.controller", "trading.paper.controller"):
        fast.harm("burn", name)
    for pair in PAIRS.values():
        for how in ("kill", "hang"):
            fast.harm(how, *pair)
    for server in ("postgres", "valkey"):
        fast.kill_server(server)
        fast.kill_server(server, engine_too=True)
    for _ in range(5):
        fast.kill_engine()
    whole = fast.finish()
    with capsys.disabled():
        print("", *told_lines(whole["faults"]), sep="\n")
    assert len(whole["faults"]) == 4 * len(names) + 3 + 2 + 4 + 4 + 5
