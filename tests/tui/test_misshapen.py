"""Rows of another shape: the console says so in their place and goes on."""

import random

import pytest

from support.console_script import Script, normal_rows
from tradebox_tui.screens.overview import Positions

SCREENS = ("overview", "plans", "orders", "feeds", "tree", "runs", "journal")
ODD = (
    None, "", "x", "9" * 400, "é漢\x1b[31m", -1, 10**30, 1.5, True, [], {}, [[]], [1, "a"],
    {"a": {}}, "NaN", "Infinity", float("inf"), [None], ["T1", None, 3],
)  # fmt: skip


def spoil(value, chance, draw):
    """Return a copy in which parts are replaced by anything, left out, or doubled."""
    if draw.random() < chance:
        return draw.choice(ODD)
    if isinstance(value, dict):
        return {key: spoil(each, chance, draw) for key, each in value.items()
                if draw.random() > chance / 2}  # fmt: skip
    if isinstance(value, list):
        found = [spoil(each, chance, draw) for each in value]
        return found + found[:1] if draw.random() < chance else found
    return value


@pytest.mark.asyncio
@pytest.mark.parametrize("screen", SCREENS)
@pytest.mark.parametrize("seed", range(2))
async def test_no_shape_of_a_row_ends_the_console(console, screen, seed):
    draw = random.Random(f"{screen}{seed}")
    source = Script(normal_rows())
    async with console(screen, source=source) as (app, pilot):
        for turn in range(6):
            chance = (0.02, 0.1, 0.4, 1.0)[turn % 4]
            source.data = {name: spoil(row, chance, draw) for name, row in normal_rows().items()}
            if screen == "runs":
                source.backtests = spoil(Script(normal_rows()).backtests, chance, draw)
            source.tick()
            await app.pulse()
            await pilot.press(*draw.sample(["j", "k", "s", "S", "y", "enter", "G", "z", "tab"], 4))
            await app.action_look_screen(screen)
        app.frame.set_zoom(None)
        source.data = normal_rows()
        source.backtests = Script(normal_rows()).backtests
        source.tick()
        await app.pulse()
        await pilot.pause()
        assert app.is_running
        text = "\n".join(line for pane in app.frame.panes for line in pane.plain())
        assert "cannot be shown" not in text


@pytest.mark.asyncio
async def test_it_is_said_where_it_happened(console, script, shown):
    async with console() as (app, pilot):
        script.data["plans"][0]["stop_price"] = ["a list"]
        script.data["plans"][0]["quantity"] = "many"
        script.data["header"]["ticks"] = [1, 2]
        await app.pulse()
        await pilot.pause()
        text = shown(app)
        assert text.count("figures cannot be shown") == 1
        row = next(line for line in app.screen.query_one(Positions).plain() if "NVDA" in line)
        assert "?" in row
        assert "AAPL" in text


@pytest.mark.asyncio
async def test_figures_and_words_in_one_column_can_be_sorted(console, script):
    async with console() as (app, pilot):
        table = app.screen.query_one(Positions)
        script.data["plans"][0]["r_multiple"] = "not a figure"
        script.data["plans"][1]["r_multiple"] = 3
        await app.pulse()
        for _ in table.columns:
            await pilot.press("s")
            assert len(table._ordered()) == 3
