"""The board of named faults: setting, narrowing, counting, and refusals that say the fix."""

import pytest

from tradebox.errors import ConfigInvalid
from tradebox.sim.faults import WHEN, Cues, FaultBoard, FaultSpec

CATALOGUE = (
    FaultSpec("mute", "say nothing", {"symbol": "", "count": 0}),
    FaultSpec("slow", "wait", {"delay_s": 1.0, "code": 5, "hard": False, "text": ""}),
    FaultSpec("now", "once", {"code": 1}, is_immediate=True),
    FaultSpec("ratio", "a number of a range", {"part": 1}, ranges={"part": (1, 9)}),
)


def test_a_fault_that_is_not_set_is_not_taken() -> None:
    assert FaultBoard(CATALOGUE).take("mute", symbol="AAPL") is None


def test_a_narrowed_fault_fits_its_place_alone_and_ends_by_its_count() -> None:
    board = FaultBoard(CATALOGUE)
    board.set("mute", symbol="AAPL", count=2)
    assert board.take("mute", symbol="SPY") is None
    assert board.take("mute", symbol="AAPL", other=5) == {"symbol": "AAPL", "count": 2}
    assert board.listing()[0]["active"] == [{"symbol": "AAPL", "count": 2, "hits": 1}]
    assert board.take("mute", symbol="AAPL") is not None
    assert board.take("mute", symbol="AAPL") is None


def test_clear_ends_one_or_all() -> None:
    board = FaultBoard(CATALOGUE)
    board.set("mute")
    board.set("slow", delay_s=2)
    board.clear("mute")
    assert board.take("mute") is None
    assert board.take("slow") is not None
    board.clear()
    assert board.take("slow") is None


def test_an_immediate_fault_is_told_and_not_kept() -> None:
    board = FaultBoard(CATALOGUE)
    heard: list[tuple[str, dict[str, object]]] = []
    end = board.listen(lambda name, arguments: heard.append((name, dict(arguments))))
    board.set("now", code=7)
    assert heard == [("now", {"code": 7})]
    assert board.take("now") is None
    end()
    board.set("now")
    assert len(heard) == 1


@pytest.mark.parametrize(
    ("name", "arguments", "match"),
    [
        ("none", {}, "no fault 'none'.*fault list"),
        ("slow", {"speed": 1}, "no argument 'speed'.*delay_s"),
        ("slow", {"delay_s": "x"}, "does not fit: give a number"),
        ("slow", {"delay_s": True}, "does not fit"),
        ("slow", {"code": 1.5}, "give a whole number"),
        ("slow", {"hard": 1}, "give a true or false"),
        ("slow", {"delay_s": float("nan")}, "does not fit"),
        ("slow", {"delay_s": float("inf")}, "does not fit"),
        ("slow", {"code": 10**12}, "does not fit"),
        ("slow", {"text": 1}, "give a text"),
        ("ratio", {"part": 0}, "part=0 is out of range: give 1 to 9"),
        ("slow", {"after_s": -1.0}, "after_s=-1.0 is out of range: give 0 to"),
        ("slow", {"for_s": -0.5}, "for_s=-0.5 is out of range"),
        ("slow", {"skip": -1}, "skip=-1 is out of range"),
        ("mute", {"count": -1}, "count=-1 is out of range"),
    ],
)
def test_a_wrong_fault_is_refused(name: str, arguments: dict[str, object], match: str) -> None:
    board = FaultBoard(CATALOGUE)
    with pytest.raises(ConfigInvalid, match=match):
        board.set(name, **arguments)
    assert all(row["active"] == [] for row in board.listing())


def test_an_unknown_fault_cannot_be_cleared() -> None:
    with pytest.raises(ConfigInvalid, match="no fault"):
        FaultBoard(CATALOGUE).clear("none")


class Moment:
    """A market time that a test moves, in seconds."""

    at_s = 100

    def __call__(self) -> int:
        return self.at_s * 10**9


def timed() -> tuple[FaultBoard, Moment]:
    moment = Moment()
    return FaultBoard(CATALOGUE, moment), moment


def test_a_fault_begins_after_its_time_and_ends_after_its_time() -> None:
    board, moment = timed()
    board.set("mute", after_s=10, for_s=5)
    assert board.take("mute") is None
    assert board.listing()[0]["active"][0]["waits"]
    moment.at_s = 110
    assert board.take("mute") is not None
    moment.at_s = 115
    assert board.take("mute") is None
    board.tick()
    assert board.listing()[0]["active"] == []


def test_a_fault_passes_over_the_first_places_that_fit() -> None:
    board, _ = timed()
    board.set("mute", symbol="AAPL", skip=2)
    hits = [board.take("mute", symbol="AAPL") is not None for _ in range(4)]
    assert hits == [False, False, True, True]


def test_a_fault_waits_for_its_cue_then_for_its_time() -> None:
    board, moment = timed()
    other = FaultBoard(CATALOGUE)
    cues = Cues({"one": board, "two": other}, moment)
    heard: list[str] = []
    board.listen(lambda name, _: heard.append(name))
    board.set("now", on="fill", after_s=3)
    cues.happen("order")
    cues.tick()
    cues.happen("fill")
    cues.tick()
    assert heard == []
    moment.at_s = 103
    cues.tick()
    cues.tick()
    assert heard == ["now"]
    board.set("mute", on="close")
    assert not board.is_set("mute")
    cues.happen("close")
    assert board.is_set("mute")


def test_a_cue_nobody_gives_is_refused() -> None:
    board, _ = timed()
    with pytest.raises(ConfigInvalid, match="is no cue: give one of order"):
        board.set("mute", on="never")
    assert WHEN.keys() <= board.listing()[0]["arguments"].keys()


def test_what_a_part_could_not_act_upon_is_refused_when_it_is_set() -> None:
    board, _ = timed()

    def check(name: str, arguments: dict[str, object]) -> None:
        if arguments.get("code") == 9:
            raise ConfigInvalid(f"{name}: never 9")

    board.check_by(check)
    for arguments in ({"code": 9}, {"code": 9, "on": "open"}, {"code": 9, "after_s": 5.0}):
        with pytest.raises(ConfigInvalid, match="now: never 9"):
            board.set("now", **arguments)
        with pytest.raises(ConfigInvalid, match="now: never 9"):
            board.check("now", **arguments)
    board.check("now", code=8)
    assert all(row["active"] == [] for row in board.listing())


@pytest.mark.parametrize("when", [{"after_s": 10}, {"on": "close"}])
def test_what_turns_out_impossible_stays_listed_with_its_reason(when: dict[str, object]) -> None:
    board, moment = timed()

    def refuse(_name: str, _arguments: object) -> None:
        raise ConfigInvalid("it cannot be any more")

    board.listen(refuse)
    board.set("now", **when)
    moment.at_s = 200
    board.happen("close")
    board.tick()
    board.tick()
    (row,) = board.listing()[2]["active"]
    assert row["refused"] == "it cannot be any more"
    assert board.take("now") is None
    board.clear("now")
    assert board.listing()[2]["active"] == []
