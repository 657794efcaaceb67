"""The market clocks as the engine uses them."""

from pathlib import Path

import pytest

from tradebox.adapters.marketclock import AffineMarketClock, WallMarketClock
from tradebox.domain.clock_map import ClockMap
from tradebox.errors import NotRunning

SECOND_NS = 10**9


def write(path: Path, market_ns: int, mono_ns: int, lease_s: int = 5) -> None:
    one = ClockMap(market_ns, mono_ns, 20_000_000, mono_ns + lease_s * SECOND_NS)
    fresh = path.with_suffix(".new")
    fresh.write_text(one.encode())
    fresh.replace(path)


def test_wall_time_set_back_stands_still() -> None:
    times = iter([100, 90, 95, 120])
    clock = WallMarketClock(lambda: next(times))
    assert [clock.now_ns() for _ in range(4)] == [100, 100, 100, 120]
    assert clock.speed == 1.0
    assert not clock.refresh()


def test_no_file_is_said_clearly(tmp_path: Path) -> None:
    with pytest.raises(NotRunning, match="start the simulator"):
        AffineMarketClock(tmp_path / "clock.json")


def test_time_runs_at_the_speed_and_freezes_at_the_lease(tmp_path: Path) -> None:
    path, mono = tmp_path / "clock.json", [7 * SECOND_NS]
    write(path, 10**18, 7 * SECOND_NS)
    clock = AffineMarketClock(path, lambda: mono[0])
    assert clock.speed == 20.0
    mono[0] += SECOND_NS
    assert clock.now_ns() == 10**18 + 20 * SECOND_NS
    mono[0] += 60 * SECOND_NS
    assert clock.now_ns() == 10**18 + 100 * SECOND_NS


def test_refresh_takes_a_new_map_once_and_survives_a_missing_file(tmp_path: Path) -> None:
    path = tmp_path / "clock.json"
    write(path, 10**18, 0)
    clock = AffineMarketClock(path, lambda: 0)
    assert not clock.refresh()
    write(path, 10**18 + 5, 0)
    assert clock.refresh()
    assert not clock.refresh()
    assert clock.now_ns() == 10**18 + 5
    path.unlink()
    assert not clock.refresh()
    write(path, 10**17, 0)
    assert clock.refresh()
    assert clock.now_ns() == 10**18 + 5
