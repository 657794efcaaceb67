"""Every screen in every state, as a picture."""

import pytest

from support.console_script import (
    MARKET_NS,
    SECOND_NS,
    Script,
    backtests,
    normal_rows,
    stored_events,
)
from tradebox_tui.app import ConsoleApp
from tradebox_tui.widgets.canvas import Canvas

SCREENS = ("overview", "plans", "orders", "feeds", "tree", "runs", "journal")
STATES = ("empty", "normal", "stale", "halt", "crowd")
OWN_KEYS = {
    "orders-by-plan": ("orders", ("o",)),
    "feeds-detail": ("feeds", ("b", "d")),
    "tree-folded": ("tree", ("G", "k", "e")),
    "runs-compare": ("runs", ("tab", "m", "j", "m", "c")),
    "runs-underwater": ("runs", ("p",)),
    "runs-spread": ("runs", ("p", "p")),
    "journal-about": ("journal", ("j", "i")),
    "plans-closed": ("plans", ("x",)),
    "overview-alerts": ("overview", ("a",)),
}
CASES = [
    *((screen, state, (100, 30)) for screen in SCREENS for state in STATES),
    *((screen, "normal", size) for screen in SCREENS for size in ((80, 24), (160, 48))),
    *((screen, "ascii", (100, 30)) for screen in SCREENS),
    ("overview", "light", (100, 30)),
    ("overview", "dark", (100, 30)),
    ("overview", "starting", (100, 30)),
]
CROWD = 200


def moving(script):
    """Move the first plan's price from pulse to pulse, so that there is a line to draw."""
    rows = script.data
    if not rows:
        return
    for plan in rows["plans"]:
        number = (script.now_ns // SECOND_NS) % 5
        plan["last_event_ns"] = MARKET_NS - 60 * SECOND_NS + script.now_ns // 50
        if plan["symbol"] == "NVDA":
            plan["last_price"] = f"101.{50 + 5 * number:02d}"


def halted(rows):
    rows["header"].update(postgres=False, session="closed", session_until_ns=None, active_feed=None)
    rows["accounts"][0]["link"] = "DOWN"
    rows["positions"][0].update(covered=False, stop_quantity=0)
    for row in rows["orders"]:
        row["state"] = "rejected" if row["role"] == "stop" else row["state"]
    for row in rows["feeds"]:
        row.update(quality="stale", refused=7)
    for row in rows["health"]:
        if row["name"].startswith("trading.paper."):
            row.update(state="halted", last_reason="ClientIdInUse", restarts=2)
    rows["journal"].append(
        {**rows["journal"][-1], "number": 99, "kind": "gave_up", "at_ns": MARKET_NS,
         "text": "trading.paper gave up: 5 restarts in 60 s"}
    )  # fmt: skip
    return rows


def crowd(rows):
    """Two hundred of everything."""

    def many(name, /, **made):
        first = rows[name][0]
        rows[name] = [
            {**first, **{key: make(at) for key, make in made.items()}} for at in range(CROWD)
        ]

    many("plans", plan_id=lambda at: f"P-{at:04d}", symbol=lambda at: f"S{at}",
         quantity=lambda _: 0)  # fmt: skip
    many("orders", order_ref=lambda at: f"tb-{at:04d}", plan_id=lambda at: f"P-{at // 3:04d}",
         order_id=lambda at: 7000 + at)  # fmt: skip
    many("feeds", symbol=lambda at: f"S{at}")
    many("health", name=lambda at: "root" if at == 0 else f"market.child_{at}")
    many("journal", number=lambda at: at)
    many("alerts", number=lambda at: at)
    return rows


def scripted(state):
    if state in ("empty", "starting"):
        script = Script()
        script.waiting = "nothing has run on this home yet: start `tradebox run`"
        script.history_waiting, script.profile, script.world = script.waiting, "", ""
        if state == "starting":
            script.waiting, script.profile, script.world = "", "sim", "SIMULATED"
            script.history_waiting = "PostgreSQL: starting up"
        return script
    script = Script({"halt": halted, "crowd": crowd}.get(state, lambda same: same)(normal_rows()))
    if state == "crowd":
        script.stored = stored_events(CROWD)
        script.backtests, script.stocks = backtests(CROWD, CROWD)
    if state == "halt":
        script.history_waiting = "PostgreSQL: not up yet"
    return script


async def read(pilot, script, state):
    app = pilot.app
    if state == "halt":  # it was well before
        script.history_waiting = ""
        await app.pulse()
        script.history_waiting = "PostgreSQL: not up yet"
    for _ in range(12):
        moving(script)
        await app.pulse()
        script.tick()
    if state == "stale":
        script.history_waiting = "PostgreSQL: no answer in time"
        script.tick(20, write=False)
        await app.pulse()
    else:
        app.repaint()
    await pilot.pause()


def console(script, screen, state):
    app = ConsoleApp(
        script, clock_ns=script.clock, first=screen, is_manual=True, ascii_only=state == "ascii"
    )
    app.theme = {"light": "textual-light", "dark": "textual-dark"}.get(state, app.theme)
    return app


@pytest.mark.parametrize(
    ("screen", "state", "size"), CASES, ids=lambda v: v if isinstance(v, str) else f"{v[0]}x{v[1]}"
)
def test_picture(snap_compare, monkeypatch, screen, state, size):
    script = scripted(state)
    monkeypatch.setattr(Canvas, "ascii_only", state == "ascii")
    app = console(script, screen, state)

    async def run_before(pilot):
        await read(pilot, script, state)

    assert snap_compare(app, terminal_size=size, run_before=run_before)


@pytest.mark.parametrize("name", OWN_KEYS)
def test_picture_of_a_screens_own_keys(snap_compare, name):
    screen, keys = OWN_KEYS[name]
    script = scripted("normal")

    async def run_before(pilot):
        await read(pilot, script, "normal")
        for key in keys:
            await pilot.press(key)
            await pilot.app.pulse()
        script.tick(6)
        await pilot.app.pulse()
        await pilot.pause()

    assert snap_compare(console(script, screen, "normal"), terminal_size=(100, 30),
                        run_before=run_before)  # fmt: skip


def test_help_has_a_picture(snap_compare):
    script = scripted("normal")

    async def run_before(pilot):
        await read(pilot, script, "normal")
        await pilot.press("question_mark")
        await pilot.pause()

    assert snap_compare(console(script, "journal", "normal"), terminal_size=(100, 30),
                        run_before=run_before)  # fmt: skip
