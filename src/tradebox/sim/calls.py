"""When the keys of the vendors were used, kept over a restart: their limits are not forgotten.

Rules of this file:
- times are monotonic seconds of this machine; those of the future are of another boot and dropped;
- a file that cannot be read is an empty one: limits are no money;
- without a path nothing is kept.
"""

import json
from collections import deque
from contextlib import suppress
from pathlib import Path

COUNT_MAX = 1_000


class KeptCalls:
    """The calls of some keys, by a name for each."""

    def __init__(self, path: Path | None = None, now_s: float = 0.0) -> None:
        self._path = path
        self._calls: dict[str, deque[float]] = {}
        self._days: dict[str, tuple[str, int]] = {}
        if path is not None:
            self._read(path, now_s)

    def times(self, name: str) -> deque[float]:
        """Return when a key was used, oldest first; the caller drops and adds, then keeps."""
        return self._calls.setdefault(name, deque(maxlen=COUNT_MAX))

    def day(self, name: str) -> tuple[str, int]:
        """Return the day of a key's latest calls, and how many there were."""
        return self._days.get(name, ("", 0))

    def keep_day(self, name: str, day: str, count: int) -> None:
        """Note how many calls a key made on a day."""
        self._days[name] = day, count
        self.keep()

    def keep(self) -> None:
        """Write down what is known."""
        if self._path is None:
            return
        calls = {name: list(times) for name, times in self._calls.items()}
        text = json.dumps({"calls": calls, "days": self._days})
        fresh = self._path.with_name(f".{self._path.name}")
        # No fsync: a lost second of limits harms nobody, a slow answer would.
        with suppress(OSError):
            fresh.write_text(text, encoding="ascii")
            fresh.replace(self._path)

    def _read(self, path: Path, now_s: float) -> None:
        with suppress(OSError, ValueError, TypeError, AttributeError):
            data = json.loads(path.read_bytes())
            for name, times in data["calls"].items():
                past = [float(one) for one in times if float(one) <= now_s]
                self._calls[str(name)] = deque(past, maxlen=COUNT_MAX)
            for name, (day, count) in data["days"].items():
                self._days[str(name)] = str(day), int(count)
