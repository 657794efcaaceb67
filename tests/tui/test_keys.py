import re
from pathlib import Path

import pytest
from textual import events
from textual.widgets import Input

import tradebox_tui
from support.console_script import MARKET_NS, stored_events
from tradebox_tui import keys
from tradebox_tui.app import ConsoleApp
from tradebox_tui.screens.feeds import FeedTable
from tradebox_tui.screens.help import Help
from tradebox_tui.screens.journal import JournalTable
from tradebox_tui.screens.orders import OrderTable
from tradebox_tui.screens.overview import Alerts, Positions
from tradebox_tui.screens.plans import PlanList
from tradebox_tui.screens.runs import ResultTable, RunPlot
from tradebox_tui.screens.tree import TreeTable
from tradebox_tui.theme import THEMES
from tradebox_tui.widgets.price_plot import PricePlot

AGAIN = {"j,down", "G,end", "s", "S", "z", "y", "enter"}
"""Keys of everywhere that each screen answers in its own way."""
SCREENS = ("overview", "plans", "orders", "feeds", "tree", "runs", "journal")


def names_of(key):
    return key.keys.split(",")


def test_every_key_has_label_and_help():
    for key in keys.KEYS:
        assert key.label, key
        assert key.help.endswith((".", "…")), key
        assert key.shown, key


@pytest.mark.parametrize("screen", SCREENS)
def test_no_key_means_two_things_on_a_screen(screen):
    pressed = [name for key in keys.of_screen(screen) for name in names_of(key)]
    assert len(pressed) == len(set(pressed))


def test_no_key_leads_to_anything_but_looking():
    used = {key.action.split("(")[0] for key in keys.KEYS}
    assert used == keys.VIEW_ACTIONS
    for name in used:
        assert hasattr(ConsoleApp, f"action_look_{name}"), name


def test_no_action_of_the_console_writes():
    words = re.compile(
        r"execute|\.set\(|publish|insert|delete|xadd|\bopen\(|tradebox\.(?!readmodel|config)"
    )
    found = [
        f"{path.name}: {line}"
        for path in sorted(Path(tradebox_tui.__file__).parent.rglob("*.py"))
        for line in path.read_text().splitlines()
        if words.search(line)
    ]
    assert not found


def test_the_last_line_shows_eight_keys_at_most():
    assert len(keys.FOOTER) <= 8


@pytest.mark.asyncio
@pytest.mark.parametrize("screen", SCREENS)
async def test_no_key_breaks_a_screen(console, screen):
    async with console(screen) as (app, pilot):
        for key in keys.of_screen(screen):
            if key.action in ("quit", "interrupt"):
                continue
            if screen != "overview" and key.scope == "everywhere" and key.keys not in AGAIN:
                continue
            for name in names_of(key):
                await pilot.press(name)
                if key.action.startswith(("prompt", "help")):
                    await pilot.press("escape")
                app.frame.set_zoom(None)
                await app.action_look_screen(screen)
            await app.pulse()
        assert app.is_running


@pytest.mark.asyncio
@pytest.mark.parametrize(("key", "code"), [("q", 0), ("ctrl+q", 0), ("ctrl+c", 130)])
async def test_leaving(console, script, key, code):
    async with console() as (app, pilot):
        await pilot.press(key)
    assert app.return_code == code
    assert script.closed


@pytest.mark.asyncio
@pytest.mark.parametrize("key", ["/", ":"])
async def test_control_c_leaves_from_the_prompt_too(console, key):
    async with console() as (app, pilot):
        await pilot.press(key, "ctrl+c")
    assert app.return_code == 130


@pytest.mark.asyncio
async def test_numbers_show_screens_and_say_why_one_is_not_there(console, shown):
    async with console() as (app, pilot):
        for item in keys.SCREENS:
            before = app.frame.screen_name
            await pilot.press(item.digit)
            await pilot.pause()
            assert app.frame.screen_name == (before if item.why else item.name)
            if item.why:
                assert item.why in shown(app)


@pytest.mark.asyncio
@pytest.mark.parametrize("screen", SCREENS)
async def test_every_screen_says_simulated_and_help_does(console, shown, screen):
    async with console(screen) as (app, pilot):
        assert "SIMULATED" in shown(app).splitlines()[0]
        await pilot.press("question_mark")
        await pilot.pause()
        assert isinstance(app.screen, Help)
        assert "SIMULATED" in shown(app)
        for key in keys.of_screen(screen):
            assert key.shown in shown(app)
        await pilot.press("escape")
        assert not isinstance(app.screen, Help)


@pytest.mark.asyncio
async def test_only_the_shown_screen_reads(console, script):
    async with console("feeds") as (app, _):
        script.asked.clear()
        await app.pulse()
        assert script.asked == [("header", "accounts", "feeds")]


@pytest.mark.asyncio
async def test_the_cursor_follows_its_row_not_its_place(console, script):
    async with console() as (app, pilot):
        table = app.screen.query_one(Positions)
        await pilot.press("j")
        assert table.cursor_key == "P-0002"
        script.data["plans"].insert(0, {**script.data["plans"][0], "plan_id": "P-0009"})
        await app.pulse()
        assert table.cursor_key == "P-0002"
        await pilot.press("k")
        assert table.cursor_key == "P-0001"
        await pilot.press("G")
        assert table.cursor_key == "P-0003"
        await pilot.press("g")
        assert table.cursor_key == "P-0009"


@pytest.mark.asyncio
async def test_a_cursor_at_the_top_of_what_is_newest_first_stays_there(console, script):
    async with console() as (app, pilot):
        table = app.screen.query_one(Alerts)
        script.data["alerts"].append({**script.data["alerts"][0], "number": 5})
        await app.pulse()
        assert table.cursor_key == "5"
        await pilot.press("tab", "j")
        script.data["alerts"].append({**script.data["alerts"][0], "number": 6})
        await app.pulse()
        assert table.cursor_key == "4"


@pytest.mark.asyncio
async def test_rows_hold_still_between_sorts(console, script):
    async with console() as (app, pilot):
        table = app.screen.query_one(Positions)
        while table.columns[table.sort_column or 0].title != "R":
            await pilot.press("s")
        order = [table.key(row) for row in table._ordered()]
        assert order == ["P-0002", "P-0001", "P-0003"]
        script.data["plans"][0]["r_multiple"] = -9.0
        script.tick(1)
        await app.pulse()
        assert [table.key(row) for row in table._ordered()] == order
        script.tick(5)
        await app.pulse()
        assert next(table.key(row) for row in table._ordered()) == "P-0001"
        await pilot.press("S")
        assert next(table.key(row) for row in table._ordered()) == "P-0002"


@pytest.mark.asyncio
async def test_filter_hides_rows_and_escape_brings_them_back(console, shown):
    async with console() as (app, pilot):
        await pilot.press("slash", *"nvda")
        await pilot.pause()
        table = app.screen.query_one(Positions)
        assert [table.key(row) for row in table._ordered()] == ["P-0001"]
        await pilot.press("enter")
        await pilot.pause()
        assert "/nvda" in table.plain()[0]
        await pilot.press("slash")
        app.screen.query_one("#prompt").value = "!nvda"
        await pilot.press("enter")
        await pilot.pause()
        assert [table.key(row) for row in table._ordered()] == ["P-0002", "P-0003"]
        await pilot.press("escape")
        assert len(table._ordered()) == 3


@pytest.mark.asyncio
async def test_a_bad_pattern_is_taken_word_for_word(console):
    async with console() as (app, _):
        table = app.screen.query_one(Positions)
        table.set_filter("[nv")
        assert table._ordered() == []
        table.set_filter("nvda")
        assert len(table._ordered()) == 1


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("words", "screen", "cursor"),
    [
        ("orders", "orders", None),
        ("fee", "feeds", None),
        ("5", "tree", None),
        ("plan aapl", "plans", "P-0002"),
        ("plan tsla", "plans", "P-0004"),
        ("nonsense", "overview", None),
    ],
)
async def test_go(console, words, screen, cursor):
    async with console() as (app, pilot):
        await pilot.press("colon")
        app.screen.query_one("#prompt").value = words
        await pilot.press("enter")
        await app.pulse()
        await pilot.pause()
        assert app.frame.screen_name == screen
        if cursor is not None:
            assert app.screen.query_one(PlanList).cursor_key == cursor


@pytest.mark.asyncio
async def test_enter_opens_the_plan_under_the_cursor(console, shown):
    async with console() as (app, pilot):
        await pilot.press("j", "enter")
        await app.pulse()
        await pilot.pause()
        assert app.frame.screen_name == "plans"
        assert app.screen.query_one(PlanList).cursor_key == "P-0002"
        assert "AAPL SHORT 120 of 120 open" in shown(app)


@pytest.mark.asyncio
async def test_an_order_opens_its_plan(console):
    async with console("orders") as (app, pilot):
        await pilot.press("enter")
        await app.pulse()
        await pilot.pause()
        assert app.screen.query_one(PlanList).cursor_key == "P-0002"


@pytest.mark.asyncio
async def test_zoom_gives_a_pane_the_body_and_back(console, shown):
    async with console() as (app, pilot):
        await pilot.press("z")
        await pilot.pause()
        assert app.screen.query_one(Positions).size.height == 28
        assert "Alerts" not in shown(app)
        assert "SIMULATED" in shown(app)
        await pilot.press("z")
        await pilot.pause()
        assert "Alerts" in shown(app)
        await pilot.press("a")
        await pilot.pause()
        assert app.screen.query_one(Alerts).size.height == 28
        await pilot.press("escape")
        await pilot.pause()
        assert app.screen.query_one(Alerts).size.height == 8


@pytest.mark.asyncio
async def test_copy_takes_the_row_to_the_clipboard(console):
    async with console() as (app, pilot):
        await pilot.press("y")
        assert app.clipboard.split("\t")[1:3] == ["NVDA", "LONG"]
        await pilot.press("tab", "y")
        assert app.clipboard


@pytest.mark.asyncio
async def test_theme_goes_round(console):
    async with console() as (app, pilot):
        seen = [app.theme]
        for _ in THEMES:
            await pilot.press("t")
            seen.append(app.theme)
        assert tuple(seen[:-1]) == THEMES
        assert seen[-1] == seen[0]


@pytest.mark.asyncio
async def test_period_has_ends(console, shown):
    async with console() as (app, pilot):
        for key, words in (("plus", "every 0.5 s"), ("minus", "every 10 s")):
            for _ in range(6):
                await pilot.press(key)
            await pilot.pause()
            assert words in shown(app)


@pytest.mark.asyncio
async def test_plans_keys(console, script, shown):
    async with console("plans") as (app, pilot):
        await pilot.press("x")
        assert "TSLA" in "".join(app.screen.query_one(PlanList).plain())
        await pilot.press("x")
        assert "TSLA" not in "".join(app.screen.query_one(PlanList).plain())
        plot = app.screen.query_one(PricePlot)
        await pilot.press("right_square_bracket", "right_square_bracket")
        assert plot.interval_s == 300
        await pilot.press("left_square_bracket")
        assert plot.interval_s == 60
        script.tick()
        await app.pulse()
        await pilot.pause()
        assert "no bars" not in shown(app)
        assert "collecting" not in shown(app)


@pytest.mark.asyncio
async def test_lists_that_can_be_shortened(console):
    for screen, kind, key, fewer in (
        ("orders", OrderTable, "w", 2),
        ("tree", TreeTable, "r", 1),
    ):
        async with console(screen) as (app, pilot):
            table = app.screen.query_one(kind)
            whole = len(table._ordered())
            await pilot.press(key)
            assert len(table._ordered()) == fewer < whole


@pytest.mark.asyncio
async def test_orders_hang_below_their_plans(console):
    async with console("orders") as (app, pilot):
        table = app.screen.query_one(OrderTable)
        assert [table.key(row) for row in table._ordered()] == ["tb-0002", "tb-0001", "tb-0000"]
        await pilot.press("o")
        assert [(table.key(row), row["branch"]) for row in table._ordered()] == [
            ("tb-0002", ""), ("tb-0000", ""), ("tb-0001", "└"),
        ]  # fmt: skip
        assert "by plan" in table.plain()[0]
        await pilot.press("o")
        assert [table.key(row) for row in table._ordered()] == ["tb-0002", "tb-0001", "tb-0000"]


@pytest.mark.asyncio
async def test_orders_from_before_a_restart_stay_on_the_screen(console, script, shown):
    before = script.data["orders"]
    entry = {**before[0], "path": ["sending", "acked", "filled"], "first_ns": MARKET_NS - 10**12}
    script.kept_orders = [entry, {**before[1], "first_ns": MARKET_NS - 9 * 10**11}]
    script.data["orders"] = [{**before[1], "path": ["working"], "first_ns": MARKET_NS}]
    script.epoch += 1
    async with console("orders") as (app, pilot):
        await pilot.pause()
        table = app.screen.query_one(OrderTable)
        assert [table.key(row) for row in table._ordered()] == ["tb-0001", "tb-0000"]
        assert "Orders 2 · working 1" in table.plain()[0]
        assert "Sent→Ack→Filled" in shown(app)
        assert "Sent→Ack→Work" in shown(app)
        script.history_waiting = "PostgreSQL: not up yet"
        script.tick(30)
        await app.pulse()
        assert "Orders 2" in table.plain()[0]


@pytest.mark.asyncio
async def test_an_instrument_in_detail(console, script, shown):
    async with console("feeds") as (app, pilot):
        await pilot.press("j", "d")
        await pilot.pause()
        assert "GE in detail" in shown(app)
        for count in (10, 30):
            script.data["feeds"][1]["ticks"] += count
            script.tick(2)
            await app.pulse()
        await pilot.pause()
        assert "15.0" in next(line for line in shown(app).splitlines() if "ticks/s  " in line)
        await pilot.press("d")
        await pilot.pause()
        assert "in detail" not in shown(app)


@pytest.mark.asyncio
async def test_a_detail_that_was_not_asked_for_stays_away_after_a_zoom(console, shown):
    async with console("feeds") as (app, pilot):
        await pilot.press("z", "z")
        await pilot.pause()
        assert "in detail" not in shown(app)
        await pilot.press("d", "z", "z")
        await pilot.pause()
        assert "in detail" in shown(app)


@pytest.mark.asyncio
async def test_the_palette_offers_where_to_go(console):
    async with console() as (app, pilot):
        for typed, whole in (("jo", "journal"), ("plan a", "plan AAPL"), ("th", "theme")):
            await pilot.press("colon", *(key if key != " " else "space" for key in typed))
            await pilot.pause()
            assert app.screen.query_one("#prompt")._suggestion == whole
            await pilot.press("right")
            assert app.screen.query_one("#prompt").value == whole
            await pilot.press("escape")


@pytest.mark.asyncio
async def test_a_branch_folds_and_unfolds(console):
    async with console("tree") as (app, pilot):
        table = app.screen.query_one(TreeTable)
        whole = len(table._ordered())
        table.select("market.feed_b")
        await pilot.press("e")
        names = [table.key(row) for row in table._ordered()]
        assert table.cursor_key == "market"
        assert not any(name.startswith("market.") for name in names)
        assert "stores.bus" in names
        await pilot.press("e")
        assert len(table._ordered()) == whole


@pytest.mark.asyncio
async def test_what_was_told_about_a_child(console):
    async with console("tree") as (app, pilot):
        app.screen.query_one(TreeTable).select("market.feed_b")
        await pilot.press("l")
        await app.pulse()
        await pilot.pause()
        assert app.frame.screen_name == "journal"
        table = app.screen.query_one(JournalTable)
        assert [row["actor"] for row in table._ordered()] == ["market.feed_b"]


@pytest.mark.asyncio
async def test_the_journal_merges_what_is_stored_and_what_was_told(console, script):
    async with console("journal") as (app, _):
        table = app.screen.query_one(JournalTable)
        rows = table._ordered()
        assert len(rows) == 15
        assert [row["at_ns"] for row in rows] == sorted((r["at_ns"] for r in rows), reverse=True)
        script.stored += stored_events(2, first=13)
        script.tick(2)
        await app.pulse()
        assert len(table._ordered()) == 17
        assert table.cursor_key == table.key(table._ordered()[0])


@pytest.mark.asyncio
async def test_following_and_holding(console, script):
    async with console("journal") as (app, pilot):
        table = app.screen.query_one(JournalTable)
        first = table.cursor_key
        await pilot.press("f")
        assert "held" in table.plain()[0]
        script.data["journal"].append(
            {**script.data["journal"][0], "number": 9, "at_ns": MARKET_NS}
        )
        script.tick(2)
        await app.pulse()
        assert table.cursor_key == first
        await pilot.press("f")
        assert table.cursor_key == "t9"
        assert "following" in table.plain()[0]


@pytest.mark.asyncio
async def test_matches_are_gone_through(console):
    async with console("journal") as (app, pilot):
        table = app.screen.query_one(JournalTable)
        await pilot.press("n")
        assert "first filter" in app.screen.query_one("#foot").plain()[0]
        await pilot.press("slash", *"fill_b", "enter")
        matching = [table.key(row) for row in table._ordered()]
        assert len(matching) == 4
        await pilot.press("n")
        assert len(table._ordered()) == 15
        found = [table.cursor_key]
        for _ in range(5):
            await pilot.press("n")
            found.append(table.cursor_key)
        assert set(found) <= set(matching)
        assert "no further line" in app.screen.query_one("#foot").plain()[0]
        await pilot.press("N")
        assert table.cursor_key in matching
        assert table.cursor_key != found[-1]


@pytest.mark.asyncio
async def test_only_one_plan(console):
    async with console("journal") as (app, pilot):
        table = app.screen.query_one(JournalTable)
        table.select("s12")
        await pilot.press("i")
        await app.pulse()
        assert {row["plan_id"] for row in table._ordered()} == {"P-0002"}
        await pilot.press("i")
        await app.pulse()
        assert len(table._ordered()) == 15


@pytest.mark.asyncio
async def test_older_events_come_when_the_cursor_nears_the_end(console, script):
    script.stored = stored_events(500)
    async with console("journal") as (app, pilot):
        table = app.screen.query_one(JournalTable)
        assert len(app.view.events) == 200
        await pilot.press("G")
        for _ in range(3):
            script.tick(2)
            await app.pulse()
            await pilot.press("G")
        assert len(app.view.events) == 500
        assert table.is_complete


@pytest.mark.asyncio
async def test_going_to_a_sequence_number(console, script):
    script.stored = stored_events(500)
    async with console() as (app, pilot):
        await pilot.press("colon")
        app.screen.query_one("#prompt").value = "seq 123"
        await pilot.press("enter")
        for _ in range(2):
            script.tick(2)
            await app.pulse()
        assert app.screen.query_one(JournalTable).cursor_key == "s123"


@pytest.mark.asyncio
async def test_two_stocks_of_a_backtest_beside_each_other(console, script, shown):
    async with console("runs") as (app, pilot):
        plot = app.screen.query_one(RunPlot)
        await pilot.press("tab", "m", "j", "m", "c")
        script.tick(6)
        await app.pulse()
        await pilot.pause()
        assert [symbol for _, symbol in plot.places] == ["NVDA", "AAPL"]
        assert "equity of NVDA and AAPL" in shown(app)
        assert "AAPL -4" in shown(app)
        for words in ("underwater", "R of every trade"):
            await pilot.press("p")
            await pilot.pause()
            assert words in shown(app)
        await pilot.press("c", "m")
        assert [symbol for _, symbol in plot.places] == ["AAPL"]
        assert app.screen.query_one(ResultTable).marks == [("bt-2016-0002", "NVDA")]


@pytest.mark.asyncio
async def test_a_changed_figure_carries_an_arrow_once(console, script):
    async with console() as (app, _):
        table = app.screen.query_one(Positions)

        def row():
            return next(line for line in table.plain() if "NVDA" in line)

        assert "↑" not in row()
        for price, arrow in (("102.00", "↑"), ("101.00", "↓")):
            script.data["plans"][0]["last_price"] = price
            script.tick()
            await app.pulse()
            assert f"{price}{arrow}" in row()
            app.repaint()
            assert f"{price}{arrow}" in row()
        script.tick()
        await app.pulse()
        assert "↓" not in row()


@pytest.mark.asyncio
async def test_worst_feeds_first(console):
    async with console("feeds") as (app, pilot):
        await pilot.press("b")
        table = app.screen.query_one(FeedTable)
        assert [table.key(row) for row in table._ordered()] == ["GE", "TSLA", "AAPL", "NVDA"]


def test_the_page_lists_every_key_and_screen():
    page = (Path(__file__).resolve().parents[2] / "docs" / "console.md").read_text()
    for key in keys.KEYS:
        assert f"| {key.scope} | `{key.shown}` | {key.help} |" in page
    for item in keys.SCREENS:
        assert f"| `{item.digit}` | {item.label} |" in page


@pytest.mark.asyncio
@pytest.mark.parametrize(("typed", "value"), [("/1a:/", "1a:/"), (":2/q", "2/q")])
async def test_what_is_typed_at_once_behind_the_prompts_key_is_its_text(console, typed, value):
    names = {"/": "slash", ":": "colon"}
    async with console("plans") as (app, pilot):
        for character in typed:
            app.post_message(events.Key(names.get(character, character), character))
        await pilot.pause()
        await pilot.pause()
        assert app.screen.screen_name == "plans"
        assert app.screen.query_one("#prompt", Input).value == value


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("screen", "key", "words"),
    [("tree", "r", "nothing was restarted"), ("orders", "w", "no order is working")],
)
async def test_an_empty_list_says_what_hides_its_rows(console, script, shown, screen, key, words):
    for row in script.data["health"]:
        row["restarts"] = 0
    for row in script.data["orders"]:
        row["state"] = "filled"
    async with console(screen) as (app, pilot):
        await pilot.press(key)
        await pilot.pause()
        assert words in shown(app)
        await pilot.press(key, "slash", "q", "q", "q", "enter")
        await pilot.pause()
        assert "nothing has /qqq" in shown(app)
