"""`tradebox tree`: the supervision tree of the engine, one line a child.

Rules of this file:
- it shows what the engine last reported, with its age; it asks nobody in the engine anything;
- children stand below their supervisor, further in.
"""

from tradebox.cli.options import HomeOption, JsonOption, print_json
from tradebox.cli.status import ask
from tradebox.cli.tables import Column, Row, field, show_table
from tradebox.config import find_home

INDENT = "  "
HOURS_FROM_S = 600.0


def tree(home: HomeOption = None, json: JsonOption = False) -> None:
    """Show every supervised child: state, uptime, restarts, mailbox, check-in, epoch."""
    place = find_home(home)
    engine = ask(place, "status").get("engine") or {}
    rows = (engine.get("blob") or {}).get("actors", [])
    if json:
        print_json({"age_s": engine.get("age_s"), "children": rows})
        return
    show_table(rows, COLUMNS, "the engine has not reported yet")
    if rows:
        print(f"as of {engine['age_s']:.1f} s ago")


def _name(row: Row) -> str:
    name = row["name"]
    depth = 0 if name == "root" else name.count(".") + 1
    return INDENT * depth + str(name.rpartition(".")[2])


def _seconds(value: float | None) -> str | None:
    if value is None:
        return None
    return f"{value:.1f}s" if value < HOURS_FROM_S else f"{value / 3600:.1f}h"


COLUMNS: list[Column] = [
    ("CHILD", _name), ("TYPE", field("type")), ("STATE", field("state")),
    ("UPTIME>", lambda row: _seconds(row["uptime_s"])), ("RESTARTS>", field("restarts")),
    ("N/M IN T", field("intensity")), ("MAILBOX>", field("mailbox_depth")),
    ("CHECK-IN>", lambda row: _seconds(row["checkin_age_s"])), ("EPOCH>", field("epoch")),
    ("INCARNATION>", field("incarnation")), ("LAST REASON", field("last_reason")),
]  # fmt: skip
