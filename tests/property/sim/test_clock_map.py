"""What the market clock promises its readers, whatever becomes of the simulator."""

from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tradebox.adapters.marketclock import AffineMarketClock
from tradebox.domain.clock_map import ClockMap
from tradebox.errors import HomeUnusable
from tradebox.sim.market import hours
from tradebox.sim.market.clock import AFTER_CLOSE_NS, OPEN_LEFT_NS_MIN, SimClock

MONO = st.integers(0, 10**15)
MARKET = st.integers(10**18, 2 * 10**18)


@st.composite
def maps(draw: st.DrawFn) -> ClockMap:
    market_ns, mono_ns = draw(MARKET), draw(MONO)
    jump_from_ns = draw(st.one_of(st.just(0), st.integers(market_ns, market_ns + 10**14)))
    jump_ns = draw(st.integers(0, 10**15)) if jump_from_ns else 0
    return ClockMap(
        market_ns=market_ns,
        mono_ns=mono_ns,
        speed_ppm=draw(st.integers(100_000, 200_000_000)),
        lease_mono_ns=mono_ns + draw(st.integers(0, 10**13)),
        jump_from_ns=jump_from_ns,
        jump_to_ns=jump_from_ns + jump_ns,
    )


@given(maps(), st.lists(MONO))
def test_at_never_falls_and_never_passes_the_end(one: ClockMap, moments: list[int]) -> None:
    times = [one.at(mono_ns) for mono_ns in sorted(moments)]
    assert times == sorted(times)
    assert all(one.market_ns <= time <= one.end_ns() for time in times)


@given(maps())
def test_decode_reads_what_encode_wrote(one: ClockMap) -> None:
    again = ClockMap.decode(one.encode())
    if one.has_jump:
        assert again == one
    assert all(again.at(mono) == one.at(mono) for mono in (0, one.mono_ns, one.lease_mono_ns))


@given(maps(), st.integers(0, 10**14))
def test_mono_of_is_the_first_moment_of_a_market_time(one: ClockMap, ahead_ns: int) -> None:
    market_ns = one.market_ns + ahead_ns
    mono_ns = one.mono_of(market_ns)
    if mono_ns <= one.lease_mono_ns:
        assert one.at(mono_ns) >= market_ns or one.has_jump
        assert mono_ns == one.mono_ns or one.at(mono_ns - 1) < market_ns


@pytest.mark.parametrize(
    "text", ["", "{}", "[]", "null", "{", '{"market_ns": 1}', '{"speed": "x"}', "\x00" * 50]
)
def test_garbage_is_no_clock_file(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        ClockMap.decode(text)


class Mono:
    def __init__(self, at_ns: int) -> None:
        self.at_ns = at_ns

    def __call__(self) -> int:
        return self.at_ns


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("wait"), st.integers(0, 40 * 10**9)),
        st.tuples(st.sampled_from(["renew", "refresh", "kill", "reboot", "garble"]), st.just(0)),
    ),
    max_size=40,
)


@settings(max_examples=60, deadline=None)
@given(STEPS, st.sampled_from([0.1, 1.0, 20.0, 200.0]), st.integers(0, 10**12))
def test_no_reader_ever_sees_time_go_back(
    steps: list[tuple[str, int]], speed: float, start_ns: int
) -> None:
    """Kill the simulator at any moment, restart it, reboot: old and new readers only go forward."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "clock.json"
        mono = Mono(start_ns)
        sim = SimClock(path, speed, mono)
        reader = AffineMarketClock(path, mono)
        mine_ns = seen_ns = reader.now_ns()
        for step, amount in steps:
            if step == "wait":
                mono.at_ns += amount
            elif step == "renew":
                sim.renew()
            elif step == "refresh":
                reader.refresh()
            elif step == "garble":
                kept = path.read_bytes()
                path.write_text("{")
                reader.refresh()
                path.write_bytes(kept)
            else:
                if step == "reboot":
                    mono.at_ns = 0
                sim = SimClock(path, speed, mono)
                assert sim.now_ns() >= seen_ns
                assert sim.is_open(sim.now_ns())
                left_ns = hours.session_from(sim.now_ns()).close_ns - sim.now_ns()
                assert left_ns >= OPEN_LEFT_NS_MIN
            newcomer = AffineMarketClock(path, mono)
            assert newcomer.now_ns() == sim.now_ns()
            for now_ns in (reader.now_ns(), newcomer.now_ns(), sim.now_ns()):
                session = hours.session_from(now_ns)
                before = hours.session(session.number - 1)
                assert now_ns >= session.open_ns or now_ns < before.close_ns + AFTER_CLOSE_NS
            assert reader.now_ns() >= mine_ns
            assert newcomer.now_ns() >= seen_ns
            mine_ns = reader.now_ns()
            seen_ns = max(mine_ns, newcomer.now_ns())


def test_a_garbled_clock_file_is_refused_with_its_fix(tmp_path: Path) -> None:
    path = tmp_path / "clock.json"
    path.write_text("{")
    with pytest.raises(HomeUnusable, match="remove the simulator's folder"):
        SimClock(path, 20.0, Mono(0))
    assert path.read_text() == "{"
