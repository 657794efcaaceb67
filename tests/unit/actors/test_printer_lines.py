"""An event is printed whatever it holds, an error that cannot be copied too."""

import copy

import orjson
import pytest

from tradebox.actors.printer import json_line, text_line
from tradebox.supervision.errors import BudgetSpent
from tradebox.supervision.events import ChildExited
from tradebox.supervision.reasons import Crash


class Uncopied(BudgetSpent):
    """As an error whose arguments are not its words is, where no library has taught copying it."""

    def __deepcopy__(self, memo):
        raise TypeError("missing 2 required positional arguments")


def test_a_crash_is_printed_that_cannot_be_copied():
    error = Uncopied("trading.paper.controller", 0.040, 0.069)
    with pytest.raises(TypeError):
        copy.deepcopy(error)
    event = ChildExited(
        at_s=1.0, name="trading.paper", child_id="controller", incarnation=3, reason=Crash(error)
    )
    shown = orjson.loads(json_line(event, "SIMULATED"))
    assert (shown["event"], shown["world"], shown["child_id"]) == (
        "ChildExited",
        "SIMULATED",
        "controller",
    )
    assert "69 ms of 40 ms" in str(shown["reason"])
    assert "controller" in text_line(event, "")
