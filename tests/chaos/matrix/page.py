"""Writes docs/fault-matrix.md from the table: `PYTHONPATH=tests python -m chaos.matrix.page`.

Rules of this file:
- the page is the table and nothing else that could grow old; a test compares the two.
"""

from pathlib import Path

from chaos.matrix.rows import ROWS

PAGE = Path(__file__).resolve().parents[3] / "docs" / "fault-matrix.md"

HEAD = """# The fault matrix

64 faults of gateway, broker, feed, stores, machine and people. Each is a test by its number, on a
running engine against the stand-in world; what happened is judged from outside, by the gateway's
ledger, the official TWS API client and PostgreSQL, never by the engine's word.

```
make matrix                                 every row and the other slow tests, into bench/results
python -m pytest tests/chaos/matrix -m slow -k "test_row[36]"       one row
python -m bench.fault_matrix [NUMBER…]      rows, with what each showed, into bench/results
```

A row with * is in `make test` too. By configuration, waits of the engine are shortened (heartbeat,
snapshot, absence proof), limits that many rows would use up are widened, and the
launcher has patience with a busy machine (leash 5 s, stop 30 s); nothing else of it is changed.

## What is judged, after each row, over everything that happened in its run

| | |
|---|---|
| I1 | never two live orders for one intent |
| I2 | no order while the link is not CLEAN |
| I3 | every position has exactly one full-size live stop within 5 s, or a person is told |
| I4 | every execution is booked once |
| I5 | no order state from an error text or a timeout |
| I6 | no entry on a stale or invalid price |
| I7 | PostgreSQL is never behind the wire |
| I8 | never a wrong account |
| I9 | orders of others are not touched; no entry where others stand |
| I10 | books equal broker, or the symbol is blocked |
| I11 | one sender, under its own client id |
| I12 | what is sold is held |

The judge has tests of its own: for each invariant a made-up ledger or book that breaks it is caught
(`tests/chaos/matrix/test_judge.py`).

## The rows

| # | fault | how | what must hold |
|---|---|---|---|
"""


def text() -> str:
    """Return the page."""
    rows = []
    for row in ROWS.values():
        mark = "*" if row.is_quick else ""
        expect = f"not had here: {row.why_not}" if row.why_not else row.expect
        rows.append(f"| {row.number}{mark} | {row.title} | {row.act} | {expect} |\n")
    return HEAD + "".join(rows)


if __name__ == "__main__":
    PAGE.write_text(text())
