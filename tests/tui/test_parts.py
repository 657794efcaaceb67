from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.console_script import plan_row
from tradebox_tui import plan_words, text
from tradebox_tui.theme import INKS, STYLES, to_ascii
from tradebox_tui.widgets.canvas import (
    cells_of,
    changed,
    fit,
    joined,
    line_width,
)
from tradebox_tui.widgets.ladder import MINI_CELLS, levels_of, mini_ladder, r_of
from tradebox_tui.widgets.live_table import Column, LiveTable
from tradebox_tui.widgets.sparkline import BARS, sparkline

SPANS = st.lists(st.tuples(st.text("ab ·◆"), st.sampled_from(["", "good", "cursor"])), max_size=8)


@given(SPANS, st.integers(1, 40))
def test_a_fitted_line_is_exactly_as_wide(line, width):
    assert line_width(fit(line, width)) == width


@given(SPANS)
def test_joining_keeps_the_text_and_the_style_of_every_ink(line):
    before, after = cells_of(line), cells_of(joined(line))
    assert [char for char, _ in before] == [char for char, _ in after]
    for (char, word), (_, new) in zip(before, after, strict=True):
        assert word == new or (char == " " and word in INKS and new in INKS)


@given(st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from("ab")), max_size=60))
def test_outside_the_changed_spans_lines_are_equal(pairs):
    old = [(a, "") for a, _ in pairs]
    new = [(b, "") for _, b in pairs]
    inside = {at for start, end in changed(old, new) for at in range(start, end)}
    assert all(old[at] == new[at] for at in range(len(old)) if at not in inside)
    assert all(start < end for start, end in changed(old, new))


def test_far_changes_are_sent_apart():
    old = [(char, "") for char in "a" * 30]
    new = [(char, "") for char in "b" + "a" * 28 + "b"]
    assert changed(old, new) == [(0, 1), (29, 30)]


@given(st.text(max_size=60))
def test_text_from_outside_is_harmless(words):
    shown = text.clean(words)
    assert shown.isprintable()
    assert len(shown) == len(words)


@given(st.text(f"─│◆✓✗↻±▁█{text.MINUS}{text.TIMES}␣…abc", max_size=40))
def test_ascii_keeps_the_width(words):
    assert to_ascii(words).isascii()
    assert len(to_ascii(words)) == len(words)


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=50), st.integers(1, 40))
def test_a_sparkline_has_a_bar_per_value(values, width):
    drawn = sparkline(values, width)
    assert len(drawn) == min(len(values), width)
    assert set(drawn) <= set(BARS)


def test_equal_values_give_equal_bars():
    assert sparkline([2, 2, 2], 9) == BARS[0] * 3
    assert sparkline([0, 7], 9) == BARS[0] + BARS[-1]
    assert sparkline([], 9) == ""


@pytest.mark.parametrize(
    ("call", "value", "shown"),
    [
        (text.price, "5012.25", "5,012.25"),
        (text.price, "1.2345", "1.2345"),
        (text.price, None, "·"),
        (text.price, "NaN", "·"),
        (text.micros, 101_650_000, "101.65"),
        (text.money, "-60", "~60.00"),
        (text.money, "1237.5", "+1,237.50"),
        (text.r_multiple, -0.5, "~0.50"),
        (text.span, 7, "7s"),
        (text.span, 2460, "41m"),
        (text.span, 13_260, "3h41m"),
        (text.span, 200_000, "2d"),
        (text.span, None, "·"),
        (text.epoch, 14, "14"),
        (text.epoch, (3 << 32) + (2 << 20) + 5, "3.2.5"),
        (text.clock, 1_421_245_927_000_000_000, "14:32:07"),
        (text.clock, None, "--:--:--"),
    ],
)
def test_figures(call, value, shown):
    assert call(value) == shown.replace("~", text.MINUS)


@pytest.mark.parametrize("side", ["BUY", "SELL"])
def test_r_runs_up_with_gain_for_both_sides(side):
    plan = plan_row(1, "X", side, "open")
    entry, stop = Decimal(plan["entry_price"]), Decimal(plan["initial_stop"])
    assert r_of(plan, entry) == 0
    assert r_of(plan, stop) == -1
    assert r_of(plan, 2 * entry - stop) == 1


def test_a_mini_ladder_shows_the_levels_where_they_are():
    cells = "".join(part for part, _ in mini_ladder(plan_row(1, "X", "BUY", "open")))
    assert len(cells) == MINI_CELLS
    assert cells.index("S") == 0
    assert cells.index("E") == 4
    assert cells.index("x") == 8
    assert cells.index("◆") == 9
    assert cells.index("T") == 12


def test_a_plan_without_entry_has_no_r():
    plan = plan_row(1, "X", "BUY", "armed", levels=[], initial_stop=None)
    assert [level.r for level in levels_of(plan)] == [None]
    assert "◆" not in "".join(part for part, _ in mini_ladder(plan))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"state": "armed"}, "armed"),
        ({"levels": []}, "live"),
        ({"levels": [], "stop_price": "101.00"}, "b/e"),
        ({}, "T1 hit"),
        ({"levels": [["TR", "1", "done"]]}, "trail"),
        ({"state": "refused"}, "denied"),
    ],
)
def test_state_in_a_word(changes, words):
    plan = {**plan_row(1, "X", "BUY", "open"), **changes}
    assert plan_words.state_cell(plan)[0] == words


def test_columns_leave_by_priority_and_come_back_where_they_fit():
    table = LiveTable()
    table.columns = tuple(
        Column(title, width, lambda row, view: "", priority=priority)
        for title, width, priority in (("A", 10, 0), ("B", 20, 1), ("C", 5, 2), ("D", 3, 3))
    )

    def titles(width):
        return [column.title for column, _ in table._fitting(width)]

    assert titles(50) == ["A", "B", "C", "D"]
    assert titles(38) == ["A", "B", "C"]
    assert titles(25) == ["A", "C", "D"]
    assert titles(5) == ["A"]


def test_every_style_word_is_known():
    assert {"", "good", "bad", "warn", "stale", "cursor"} <= STYLES.keys()
    assert STYLES.keys() >= INKS
