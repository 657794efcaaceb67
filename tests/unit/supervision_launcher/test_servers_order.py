"""Server specs: what is refused, and the order that needs make."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tradebox.supervision.launch_errors import ServersImpossible
from tradebox.supervision.servers import ServerSpec, can_start, can_stop, check_servers


def spec(name: str, *needs: str, **more) -> ServerSpec:
    return ServerSpec(name=name, argv=["true"], needs=needs, **more)


@pytest.mark.parametrize(
    ("specs", "words"),
    [
        ([spec("a"), spec("a")], "given twice"),
        ([spec("a", "b")], "unknown"),
        ([spec("a", "a")], "need each other"),
        ([spec("a", "b"), spec("b", "c"), spec("c", "a"), spec("d")], "a, b, c: need each other"),
        ([spec("a", tty=True)], "on the terminal"),
        ([spec("a", tty=True, required=False, mode="oneshot")], "on the terminal"),
        ([spec("a", required=False), spec("b", "a")], "required as well"),
    ],
)
def test_impossible_servers_are_refused(specs, words):
    with pytest.raises(ServersImpossible, match=words):
        check_servers(specs)


@st.composite
def possible(draw):
    count = draw(st.integers(1, 7))
    specs = []
    for number in range(count):
        needs = draw(st.sets(st.integers(0, number - 1))) if number else set()
        specs.append(spec(f"s{number}", *(f"s{need}" for need in sorted(needs))))
    return draw(st.permutations(specs))


@given(possible(), st.randoms())
def test_holds_every_server_starts_after_and_stops_before_its_needs(specs, random):
    check_servers(specs)
    ready: dict[str, dict[str, object]] = {}
    started = []
    while len(started) < len(specs):
        free = [s for s in specs if s.name not in ready and can_start(s, ready)]
        one = random.choice(free)
        assert all(need in started for need in one.needs)
        started.append(one.name)
        ready[one.name] = {}
    stopped: list[str] = []
    while len(stopped) < len(specs):
        free = [s for s in specs if s.name not in stopped]
        free = [s for s in free if can_stop(s, specs, frozenset(stopped))]
        one = random.choice(free)
        assert not [s for s in specs if one.name in s.needs and s.name not in stopped]
        stopped.append(one.name)
