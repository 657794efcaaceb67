"""`tradebox tree`: the supervision tree of the engine, one line a child.

Rules of this file:
- it shows what the engine last reported, with its age; it asks nobody in the engine anything.
"""

from typing import Any

from tradebox.cli.options import HomeOption, JsonOption, print_json
from tradebox.cli.status import ask
from tradebox.config import find_home

COLUMNS = (
    "child", "type", "state", "uptime", "restarts", "n/m in t", "mailbox", "check-in", "epoch",
    "incarnation", "last reason",
)  # fmt: skip
RIGHT = frozenset({"uptime", "restarts", "mailbox", "check-in", "epoch", "incarnation"})
INDENT = "  "


def tree(home: HomeOption = None, json: JsonOption = False) -> None:
    """Show every supervised child: state, uptime, restarts, mailbox, check-in, epoch."""
    place = find_home(home)
    engine = ask(place, "status").get("engine") or {}
    rows = (engine.get("blob") or {}).get("actors", [])
    if json:
        print_json({"age_s": engine.get("age_s"), "children": rows})
        return
    for line in table(rows):
        print(line)
    print(f"as of {engine['age_s']:.1f} s ago" if rows else "the engine has not reported yet")


def table(rows: list[dict[str, Any]]) -> list[str]:
    """Return the rows as aligned lines, a head first, children below their supervisor."""
    cells = [dict(zip(COLUMNS, COLUMNS, strict=True)), *(_cells(row) for row in rows)]
    widths = {name: max(len(each[name]) for each in cells) for name in COLUMNS}
    return [
        INDENT.join(
            each[name].rjust(widths[name]) if name in RIGHT else each[name].ljust(widths[name])
            for name in COLUMNS
        ).rstrip()
        for each in cells
    ]


def _cells(row: dict[str, Any]) -> dict[str, str]:
    name = row["name"]
    depth = 0 if name == "root" else name.count(".") + 1
    values = (
        INDENT * depth + name.rpartition(".")[2],
        row["type"],
        row["state"],
        _seconds(row["uptime_s"]),
        str(row["restarts"]),
        row["intensity"] or "",
        str(row["mailbox_depth"]),
        _seconds(row["checkin_age_s"]),
        "" if row["epoch"] is None else str(row["epoch"]),
        "" if row["incarnation"] is None else str(row["incarnation"]),
        row["last_reason"] or "",
    )
    return dict(zip(COLUMNS, values, strict=True))


def _seconds(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:.1f}s" if value < 600 else f"{value / 3600:.1f}h"
