import pytest

from support.console_script import MARKET_NS, SECOND_NS, Script, normal_rows
from tradebox_tui.app import ConsoleApp
from tradebox_tui.widgets.canvas import Canvas

CASES = [
    *((screen, state, (100, 30)) for screen in ("overview", "plans")
      for state in ("empty", "normal", "stale", "halt")),
    *((screen, "normal", size) for screen in ("overview", "plans")
      for size in ((80, 24), (160, 48))),
    *((screen, "normal", (100, 30)) for screen in ("orders", "feeds", "tree")),
    ("overview", "crowd", (100, 30)),
    ("overview", "ascii", (100, 30)),
]  # fmt: skip


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
    rows["header"].update(postgres=False, session="closed", session_until_ns=None)
    rows["accounts"][0]["link"] = "DOWN"
    rows["positions"][0].update(covered=False, stop_quantity=0)
    rows["orders"] = []
    for row in rows["health"]:
        if row["name"].startswith("trading.paper."):
            row["state"] = "halted"
    return rows


def crowd(rows):
    first = rows["plans"][0]
    rows["plans"] = [
        {**first, "plan_id": f"P-{at:04d}", "symbol": f"S{at}", "quantity": 0} for at in range(200)
    ]
    return rows


def scripted(state):
    if state == "empty":
        script = Script()
        script.waiting = "nothing has run on this home yet: start `tradebox run`"
        script.history_waiting, script.profile, script.world = script.waiting, "", ""
        return script
    rows = normal_rows()
    return Script({"halt": halted, "crowd": crowd}.get(state, lambda same: same)(rows))


@pytest.mark.parametrize(
    ("screen", "state", "size"), CASES, ids=lambda v: v if isinstance(v, str) else f"{v[0]}x{v[1]}"
)
def test_picture(snap_compare, monkeypatch, screen, state, size):
    script = scripted(state)
    monkeypatch.setattr(Canvas, "ascii_only", state == "ascii")
    app = ConsoleApp(
        script, clock_ns=script.clock, first=screen, is_manual=True, ascii_only=state == "ascii"
    )

    async def read(pilot):
        for _ in range(12):
            moving(script)
            await app.pulse()
            script.tick()
        if state == "stale":
            script.tick(10, write=False)
            await app.pulse()
        else:
            app.repaint()
        await pilot.pause()

    assert snap_compare(app, terminal_size=size, run_before=read)
