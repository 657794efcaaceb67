"""Fetched daily history on disk: whole series, used again for a limited time, never appended to.

Rules of this file:
- a series is adjusted, so its past changes with each dividend and split: it is replaced whole;
- each file has a companion that says when it was fetched, until when it may be used, and the hash
  of its content; where they disagree there is no file;
- written aside and moved into place, the content first: a reader sees the old or the new series.
"""

import gzip
import hashlib
import io
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final
from urllib.parse import quote

from tradebox.config import private_dir

FORMAT: Final = 1
COLUMNS: Final = ("open", "high", "low", "close", "volume")
AFTER_CLOSE_S: Final = 1800.0
"""After a session's end the vendor needs a while to know its last bar."""

STAMP_FILE: Final = "changed"


@dataclass(frozen=True, slots=True)
class Series:
    """Daily bars, oldest first; a value that the vendor left out is None.

    Units: days ISO; prices in the currency, adjusted for splits and dividends.
    """

    days: tuple[str, ...]
    columns: Mapping[str, Sequence[float | None]]
    currency: str

    def text(self) -> str:
        """Return the canonical CSV: what is hashed and kept."""
        lines = [",".join(("date", *COLUMNS))]
        columns = [self.columns[name] for name in COLUMNS]
        for day, *values in zip(self.days, *columns, strict=True):
            lines.append(",".join((day, *("" if one is None else repr(one) for one in values))))
        return "\n".join(lines) + "\n"


@dataclass(frozen=True, slots=True)
class About:
    """What is known of a kept series. Units: *_s seconds of wall time, UTC."""

    symbol: str
    source: str
    period: str
    currency: str
    bars: int
    first_day: str
    last_day: str
    fetched_s: float
    expires_s: float
    data_hash: str
    format: int = FORMAT


@dataclass(frozen=True, slots=True)
class Kept:
    """A series with what is known of it."""

    about: About
    series: Series


class HistoryStore:
    """The kept series of one source.

    Units: kept_s: seconds for which a series may be used again.
    Holds: `read` returns what `write` was given, or nothing; never a part.
    """

    def __init__(self, folder: Path, source: str, kept_s: float) -> None:
        self.folder = folder / source
        self._source = source
        self._kept_s = kept_s

    def write(
        self,
        symbol: str,
        period: str,
        series: Series,
        now_s: float,
        next_close_s: float | None = None,
    ) -> About:
        """Keep a series in the place of the one before. Raises: OSError."""
        text = series.text()
        expires_s = now_s + self._kept_s
        if next_close_s is not None:
            expires_s = min(expires_s, next_close_s + AFTER_CLOSE_S)
        about = About(
            symbol=symbol,
            source=self._source,
            period=period,
            currency=series.currency,
            bars=len(series.days),
            first_day=series.days[0] if series.days else "",
            last_day=series.days[-1] if series.days else "",
            fetched_s=now_s,
            expires_s=expires_s,
            data_hash=hashlib.sha256(text.encode()).hexdigest(),
        )
        private_dir(self.folder / period)
        packed = io.BytesIO()
        with gzip.GzipFile(fileobj=packed, mode="wb", mtime=0, filename="") as file:
            file.write(text.encode())
        _replace(self.data_file(symbol, period), packed.getvalue())
        _replace(self._about_file(symbol, period), json.dumps(asdict(about)).encode())
        _replace(self.folder / STAMP_FILE, repr(self._next_expiry_s(now_s, expires_s)).encode())
        return about

    def read(self, symbol: str, period: str) -> Kept | None:
        """Return the series, however old; None where there is none, or it is damaged."""
        about = self.about(symbol, period)
        if about is None:
            return None
        try:
            text = gzip.decompress(self.data_file(symbol, period).read_bytes()).decode()
            if hashlib.sha256(text.encode()).hexdigest() != about.data_hash:
                return None
            return Kept(about, _parsed(text, about.currency))
        except (OSError, EOFError, ValueError):
            return None

    def fresh(self, symbol: str, period: str, now_s: float) -> Kept | None:
        """Return the series while it may be used."""
        about = self.about(symbol, period)
        if about is None or not about.fetched_s <= now_s < about.expires_s:
            return None
        return self.read(symbol, period)

    def about(self, symbol: str, period: str) -> About | None:
        """Return what is known of a kept series; None where nothing is."""
        return _about(self._about_file(symbol, period))

    def listed(self) -> Iterator[About]:
        """Return what is known of every kept series, by period and symbol."""
        for path in sorted(self.folder.glob("*/*.json")):
            about = _about(path)
            if about is not None and path.name == f"{_name(about.symbol)}.json":
                yield about

    def stamp(self, now_s: float) -> str:
        """Return a text that changes with every series written, and when the first one expires."""
        path = self.folder / STAMP_FILE
        try:
            status, expiry_s = path.stat(), float(path.read_bytes())
        except (OSError, ValueError):
            return ""
        word = "expired" if now_s >= expiry_s else "usable"
        return f"{status.st_mtime_ns} {status.st_ino} {word}"

    def _next_expiry_s(self, now_s: float, expires_s: float) -> float:
        """Return when the first of the series that are usable now is no longer so."""
        try:
            known_s = float((self.folder / STAMP_FILE).read_bytes())
        except (OSError, ValueError):
            return expires_s
        return min(known_s, expires_s) if known_s > now_s else expires_s

    def data_file(self, symbol: str, period: str) -> Path:
        """Return where a series lies."""
        return self.folder / period / f"{_name(symbol)}.csv.gz"

    def _about_file(self, symbol: str, period: str) -> Path:
        return self.folder / period / f"{_name(symbol)}.json"


def _name(symbol: str) -> str:
    """Return a file's name for a symbol: no path, whatever the symbol is called."""
    name = quote(symbol, safe="^=-.")
    return name.replace(".", "%2E", 1) if name.startswith(".") else name


def _about(path: Path) -> About | None:
    try:
        values = json.loads(path.read_bytes())
        found = About(**values)
        is_ours = found.format == FORMAT and math.isfinite(found.fetched_s + found.expires_s)
    except (OSError, ValueError, TypeError):
        return None
    return found if is_ours else None


def _parsed(text: str, currency: str) -> Series:
    head, *lines = text.splitlines()
    if head != ",".join(("date", *COLUMNS)):
        raise ValueError("no kept series")
    rows = [line.split(",") for line in lines]
    columns = {
        name: [float(row[place]) if row[place] else None for row in rows]
        for place, name in enumerate(COLUMNS, 1)
    }
    return Series(tuple(row[0] for row in rows), columns, currency)


def _replace(path: Path, content: bytes) -> None:
    fresh = path.with_name(f".{path.name}.new")
    fresh.write_bytes(content)
    fresh.replace(path)
