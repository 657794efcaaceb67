"""The lists of `docs/simulator.md` that are generated: every fault and every variant.

Rules of this file:
- what the program can do is said by the program: the lists are made from the catalogues;
- `python -m tradebox.sim.describe docs/simulator.md` puts them between their marks; a test
  fails where the file differs.
"""

import re
import sys
from collections.abc import Sequence
from pathlib import Path

from tradebox.sim.alphavantage.faults import CATALOGUE as ALPHAVANTAGE
from tradebox.sim.exchange.variants import VARIANTS
from tradebox.sim.faults import CUES, FaultSpec
from tradebox.sim.finnhub.faults import CATALOGUE as FINNHUB
from tradebox.sim.gateway.faults import CATALOGUE as GATEWAY
from tradebox.sim.market.acts import CATALOGUE as MARKET
from tradebox.sim.yahoo.faults import CATALOGUE as YAHOO

BOARDS: dict[str, Sequence[FaultSpec]] = {
    "market": MARKET,
    "gateway": GATEWAY,
    "finnhub": FINNHUB,
    "alphavantage": ALPHAVANTAGE,
    "yahoo": YAHOO,
}


def faults_text() -> str:
    """Return every fault as Markdown tables, board by board."""
    parts: list[str] = []
    for board, catalogue in BOARDS.items():
        rows = [
            f"| `{board}.{spec.name}` | {spec.summary}{' (once)' if spec.is_immediate else ''} |"
            f" {_arguments(spec)} |"
            for spec in catalogue
        ]
        head = (
            f"### {board} ({len(catalogue)})\n\n| name | what it does | arguments |\n|---|---|---|"
        )
        parts.append("\n".join([head, *rows]))
    cues = ", ".join(f"`{cue}`" for cue in CUES)
    parts.append(f"Cues for `on`: {cues}.")
    return "\n\n".join(parts)


def variants_text() -> str:
    """Return every variant as a Markdown table, the default first."""
    rows = [
        f"| `{one.name}` | {', '.join(f'`{word}`' for word in one.alternatives)} | {one.summary} |"
        f" {one.source} |"
        for one in VARIANTS
    ]
    head = "| variant | alternatives, default first | what differs | what is known |"
    return "\n".join([head, "|---|---|---|---|", *rows])


def described(text: str) -> str:
    """Return a page with its generated parts as they must be.

    Raises: AssertionError if a part has no place in the page.
    """
    for name, content in (("faults", faults_text()), ("variants", variants_text())):
        place = re.compile(rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)", re.DOTALL)
        found = place.search(text)
        assert found is not None, f"the page has no place for its {name}"
        text = f"{text[: found.start()]}{found[1]}{content}\n{found[2]}{text[found.end() :]}"
    return text


def main(argv: Sequence[str]) -> int:
    """Bring a page up to date."""
    page = Path(argv[0])
    page.write_text(described(page.read_text(encoding="utf-8")), encoding="utf-8")
    return 0


def _arguments(spec: FaultSpec) -> str:
    pairs = (f"`{name}={_value(value)}`" for name, value in spec.defaults.items())
    return " ".join(pairs)


def _value(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
