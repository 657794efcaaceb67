"""Tables of the command line: one style, whole lines where nobody watches.

Rules of this file:
- on a terminal a table takes its width; in a pipe nothing is cut and nothing is coloured;
- an empty table says so in words.
"""

import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from io import StringIO
from typing import Any

PIPE_CELLS = 400
Row = Mapping[str, Any]
Show = Callable[[Row], object]
Column = tuple[str, Show]


def show_table(rows: Sequence[Row], columns: Sequence[Column], empty: str) -> None:
    """Print rows below the columns' heads; a head that ends in > stands right."""
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    if not rows:
        print(empty)
        return
    is_terminal = sys.stdout.isatty()
    drawn = StringIO()
    if is_terminal:
        console = Console(highlight=False)
    else:
        console = Console(file=drawn, width=PIPE_CELLS, highlight=False)
    table = Table(box=box.SIMPLE_HEAD if is_terminal else None, pad_edge=False, header_style="bold")
    for head, _ in columns:
        if head.endswith(">"):
            table.add_column(head.removesuffix(">"), justify="right", overflow="fold")
        else:
            table.add_column(head, overflow="fold")
    for row in rows:
        table.add_row(*(Text(_plain(show(row))) for _, show in columns))
    console.print(table)
    for line in drawn.getvalue().splitlines():
        print(line.rstrip())


def moment(at_ns: object) -> str:
    """Return market time in UTC: 2016-01-04 14:33:49."""
    if not isinstance(at_ns, int):
        return "·"
    return f"{datetime.fromtimestamp(at_ns // 1_000_000_000, UTC):%Y-%m-%d %H:%M:%S}"


def field(name: str) -> Show:
    """Return what shows one field of a row."""
    return lambda row: row.get(name)


def _plain(value: object) -> str:
    return "·" if value is None else "".join(c if c.isprintable() else "?" for c in str(value))
