"""Writes docs/vendor-faults.md from the table: `PYTHONPATH=tests python -m chaos.vendors.page`.

Rules of this file:
- the page is the table and nothing else that could grow old; a test compares the two.
"""

from pathlib import Path

from chaos.vendors.rows import BESIDE_ROWS, BROKER_ROWS, EXPECTED, ROWS, WORLDS, Row

PAGE = Path(__file__).resolve().parents[3] / "docs" / "vendor-faults.md"

HEAD = """# Faults of vendors

Every fault that the simulator knows of Finnhub, Alpha Vantage, Yahoo and the market, and those of
the broker's quotes, put into a trading engine; some of them in two worlds. What happened is judged
from outside: by a consumer of Redis (batches and blobs, by the console's login), by what PostgreSQL
keeps, and by the gateway's ledger. After each row:

- no price that was told as one of now was further than 5 % from the market;
- no price was live though its event was older than any source's limit;
- no price of a source was of before one that the source had shown;
- positions that only a wrong price could move (a target 8 % up, a stop 20 % down) sent no order;
- no order that opens risk left without a live price just before.

```
make matrix                             every row and the other slow tests, into bench/results
python -m pytest tests/chaos/vendors -m slow -k "finnhub.hold"        one row
python -m bench.vendor_faults [NAME…]   rows, with what each showed, into bench/results
```

A row with * is in `make test` too. Waits of the tier policy (grace, failback, dwell, pauses, ages,
polls) are shortened by configuration; nothing else of the engine is changed.

"""


def line(row: Row) -> str:
    """Return a row of the page."""
    words = [f"{name}={value}" for name, value in row.arguments.items()]
    fault = " ".join([f"`{row.fault}`{'*' if row.is_quick else ''}", *words])
    beside = f", with `{row.and_fault}`" if row.and_fault else ""
    checks = f" ({', '.join(row.checks)})" if row.checks else ""
    expect = f"not had here: {row.why_not}" if row.why_not else EXPECTED[row.expect] + checks
    return f"| {fault}{beside} | {row.world} | {expect} |\n"


def text() -> str:
    """Return the page."""
    worlds = "".join(f"| {name} | {said} |\n" for name, said in WORLDS.items())
    rows = "".join(line(row) for row in (*ROWS, *BROKER_ROWS, *BESIDE_ROWS))
    return (
        f"{HEAD}## The worlds\n\n| | |\n|---|---|\n{worlds}\n"
        f"## The rows\n\n| fault | world | what must be seen |\n|---|---|---|\n{rows}"
    )


if __name__ == "__main__":
    PAGE.write_text(text())
