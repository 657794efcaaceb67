"""Which stocks a run is about: a file of symbols, or a name.

Rules of this file:
- a mistake in the file is told with its place; a symbol unknown to the source is no mistake here;
- an empty universe is refused before anything is read.
"""

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from tradebox.backtest.data.series import Source
from tradebox.errors import ConfigInvalid

ALL: Final = "all"
SAMPLE: Final = "sample"
SYMBOLS_MAX: Final = 100_000
SYMBOL_CHARS_MAX: Final = 32
_FORMS: Final = "give a file with one symbol a line (or a CSV with a column symbol), all or sample"


def resolve_universe(text: str | None, source: Source) -> tuple[str, tuple[str, ...]]:
    """Return the name to record and the symbols, sorted, each once.

    text: None = everything the source has, or the shipped symbols where it cannot list.
    Raises: ConfigInvalid for an unknown name, an unreadable file, a malformed symbol, or no symbol.
    """
    if text in (None, ALL):
        found = tuple(sorted(source.symbols()))
        if text == ALL or source.can_list:
            return ALL, _some(found, f"universe {ALL}: {source.name} lists no symbols")
        text = SAMPLE
    assert text is not None, "None was answered above"
    if text == SAMPLE:
        from tradebox.backtest.data.sources import SampleSource

        return SAMPLE, tuple(SampleSource().symbols())
    path = Path(text).expanduser()
    if not path.exists():
        raise ConfigInvalid(f"universe={text}: no such file or name: {_FORMS}", value=text)
    symbols = _read(path)
    return str(path), _some(tuple(sorted(symbols)), f"universe {path}: it holds no symbols")


def _some(symbols: tuple[str, ...], message: str) -> tuple[str, ...]:
    if not symbols:
        raise ConfigInvalid(f"{message}: {_FORMS}")
    if len(symbols) > SYMBOLS_MAX:
        raise ConfigInvalid(f"a universe of {len(symbols)} symbols: at most {SYMBOLS_MAX}")
    return symbols


def _read(path: Path) -> set[str]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, ValueError) as error:
        raise ConfigInvalid(f"universe={path}: cannot be read: {error}: {_FORMS}") from error
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    if not lines:
        return set()
    rows = list(csv.reader(io.StringIO("\n".join(lines))))
    head = [name.strip().lower() for name in rows[0]]
    column = next((head.index(one) for one in ("symbol", "ticker") if one in head), None)
    if column is None:
        if len(head) > 1:
            raise ConfigInvalid(
                f"universe={path}: missing column symbol: {_FORMS}", value=str(path)
            )
        return _checked(path, [(number, row[0]) for number, row in enumerate(rows, 1)])
    return _checked(
        path,
        [(number, row[column]) for number, row in enumerate(rows[1:], 2) if len(row) > column],
    )


def _checked(path: Path, cells: Sequence[tuple[int, str]]) -> set[str]:
    found = set()
    for number, cell in cells:
        symbol = cell.strip()
        if not symbol:
            continue
        if len(symbol) > SYMBOL_CHARS_MAX or not symbol.isprintable() or " " in symbol:
            raise ConfigInvalid(
                f"universe={path}: row {number}: {symbol[:40]!r} is no symbol", value=str(path)
            )
        found.add(symbol)
    return found
