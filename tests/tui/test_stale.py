import pytest

from support.console_script import Script, normal_rows
from tradebox_tui.text import MINUS
from tradebox_tui.widgets.pane import Pane

SCREENS = ("overview", "plans", "orders", "feeds", "tree", "runs", "journal")


@pytest.mark.asyncio
@pytest.mark.parametrize("screen", SCREENS)
async def test_every_pane_has_an_age_and_says_stale_after_three_periods(console, script, screen):
    async with console(screen) as (app, pilot):
        if screen == "feeds":
            await pilot.press("d")
            await pilot.pause()
        for pane in app.screen.query(Pane):
            assert " 1s " in pane.plain()[0]
        if screen == "runs":
            script.history_waiting = "PostgreSQL: not up yet"
        script.tick(15.5 if screen == "runs" else 6.5, write=False)
        await app.pulse()
        for pane in app.screen.query(Pane):
            assert f"STALE {16 if screen == 'runs' else 7}s" in pane.plain()[0]
        assert "STALE" in app.screen.query_one("#head").plain()[0]


@pytest.mark.asyncio
async def test_a_row_within_three_periods_is_not_stale(console, script):
    async with console() as (app, _):
        script.tick(2.9, write=False)
        await app.pulse()
        assert not any("STALE" in pane.plain()[0] for pane in app.screen.query(Pane))


@pytest.mark.asyncio
async def test_figures_come_back_when_rows_do(console, script):
    async with console() as (app, _):
        script.tick(30, write=False)
        await app.pulse()
        script.tick(1)
        await app.pulse()
        assert not any("STALE" in pane.plain()[0] for pane in app.screen.query(Pane))


@pytest.mark.asyncio
async def test_a_store_that_goes_away_leaves_old_figures_that_age(console, script, shown):
    async with console() as (app, pilot):
        script.waiting = "Redis: connection refused"
        script.tick(8)
        await app.pulse()
        await pilot.pause()
        text = shown(app)
        assert "NVDA" in text
        assert "STALE 8s" in text
        assert "Redis: connection refused" in text


@pytest.mark.asyncio
async def test_without_rows_each_pane_says_what_it_waits_for(console, shown):
    source = Script()
    source.waiting = "nothing has run on this home yet"
    async with console(source=source) as (app, _):
        for pane in app.screen.query(Pane):
            assert "waiting: nothing has run" in pane.plain()[1]
        assert "nothing has run" in shown(app)


@pytest.mark.asyncio
async def test_a_new_epoch_redraws_from_a_snapshot(console, script, shown):
    async with console("plans") as (app, pilot):
        script.epoch += 1
        script.data = {**normal_rows(), "plans": []}
        script.tick()
        await app.pulse()
        await pilot.pause()
        assert "NVDA" not in shown(app)
        assert app.view.epoch == script.epoch
        assert not app.view.points


@pytest.mark.asyncio
async def test_a_row_of_an_older_epoch_is_stale_whatever_its_age(console, script):
    async with console() as (app, _):
        app.view.epoch = script.epoch + 1
        app.repaint()
        assert all("STALE" in pane.plain()[0] for pane in app.screen.query(Pane))


@pytest.mark.asyncio
async def test_frozen_figures_stay_and_age(console, script, shown):
    async with console() as (app, pilot):
        await pilot.press("space")
        script.data["plans"][0]["last_price"] = "777.77"
        script.tick(5)
        await app.pulse()
        await pilot.pause()
        text = shown(app)
        assert "777.77" not in text
        assert "FROZEN" in text
        assert "STALE 5s" in text
        await pilot.press("space")
        await app.pulse()
        await pilot.pause()
        assert "777.77" in shown(app)


@pytest.mark.asyncio
async def test_no_line_is_drawn_across_a_night(console, script):
    async with console("plans") as (app, _):
        plan = script.data["plans"][0]
        plan["last_event_ns"] += 60_000_000_000
        await app.pulse()
        assert len(app.view.points["NVDA"]) == 2
        plan["last_event_ns"] += 12 * 3600 * 1_000_000_000
        await app.pulse()
        assert len(app.view.points["NVDA"]) == 1


@pytest.mark.asyncio
async def test_nothing_is_called_covered_before_every_account_has_told(console, script, shown):
    rows = normal_rows()
    rows.update(positions=[], plans=[])
    del rows["accounts"][0]["net_liquidation_usd"]
    async with console(source=Script(rows)) as (app, _):
        assert "stop cover not known yet: paper" in shown(app)
        assert "nothing held" not in shown(app)


@pytest.mark.asyncio
async def test_figures_of_the_day_are_unknown_until_the_engine_has_read_its_books(console, shown):
    rows = normal_rows()
    rows["header"].update(day=None, generation=3)
    async with console(source=Script(rows)) as (app, _):
        text = shown(app)
        assert "fills · · denied · · rejected ·" in text
        assert "+1.60 R" not in text
        assert "restarts 1 · engine 2" in text


@pytest.mark.asyncio
async def test_no_figure_is_a_negative_zero(console, shown):
    rows = normal_rows()
    rows["plans"][0].update(r_multiple=-0.001, pnl_usd="-0.004")
    async with console(source=Script(rows)) as (app, _):
        assert f"{MINUS}0.00" not in shown(app)
