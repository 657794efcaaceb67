"""What a consumer outside the engine sees of prices: batches and blobs, with times of its own.

Rules of this file:
- it reads by the console's login, as any consumer may; nothing is asked of the engine;
- every item is kept with the monotonic time at which it was read; the truth beside it is what the
  simulator's market says at that time.
"""

import json
import threading
import time
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from redis import Redis
from redis.exceptions import RedisError

from support.run_bench import DEADLINE_S, Bench
from tradebox.adapters.embedded.addresses import REDIS_FOLDER, redis_url
from tradebox.adapters.embedded.secrets import Login
from tradebox.config import Home, Settings
from tradebox.errors import ConfigInvalid, NotRunning
from tradebox.sim.control.client import ask

CHANNEL = "md:t"
STREAM = "md:ev"
BLOB = "md:q:{}"
TRUTH_S = 0.2
NS_PER_S = 1_000_000_000
USD = 1_000_000


@dataclass(frozen=True)
class Item:
    """One price as it was read. Units: mono_ns of the reader, price in micro-units."""

    mono_ns: int
    symbol: str
    price: int
    source: str
    quality: str
    event_ns: int
    recv_ns: int
    number: int

    @property
    def is_live(self) -> bool:
        return self.quality == "live"


@dataclass
class Watch:
    """One consumer of a run, in a thread; and the market's truth, in another."""

    box: Bench
    symbols: tuple[str, ...]
    items: list[Item] = field(default_factory=list)
    truth: dict[str, list[tuple[int, int]]] = field(default_factory=lambda: defaultdict(list))

    def __post_init__(self) -> None:
        self._end = threading.Event()
        self._threads = [
            threading.Thread(target=self._until_end, args=(call,), daemon=True)
            for call in (self._read, self._ask_market)
        ]
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        self._end.set()
        for thread in self._threads:
            thread.join(DEADLINE_S)

    def _until_end(self, call: Callable[[], None]) -> None:
        """Go on through whatever befalls the stores and the simulator."""
        while not self._end.is_set():
            try:
                call()
            except (RedisError, OSError, NotRunning, ConfigInvalid):
                self._end.wait(TRUTH_S)

    def redis(self) -> Redis:
        """Return a client of the console's login."""
        folder = self.box.socket_dir / REDIS_FOLDER
        url = redis_url(Home(self.box.home), Settings(), Login.REDIS_CONSOLE, folder)
        return Redis.from_url(url, protocol=3)

    def _read(self) -> None:
        with self.redis() as client, client.pubsub(ignore_subscribe_messages=True) as hearing:
            hearing.subscribe(CHANNEL)
            while not self._end.is_set():
                message = hearing.get_message(timeout=TRUTH_S)
                if message is not None:
                    mono_ns = time.monotonic_ns()
                    self.items.extend(_item(each, mono_ns) for each in json.loads(message["data"]))

    def _ask_market(self) -> None:
        shown = ask(self.box.home / "sim", "/market")
        mono_ns = time.monotonic_ns()
        for symbol, last in lasts(shown):
            self.truth[symbol].append((mono_ns, round(last * USD)))
        self._end.wait(TRUTH_S)

    # --- what was seen ---

    def blob(self, symbol: str) -> Item | None:
        """Return a symbol's blob as it stands now; None where it has gone."""
        with self.redis() as client:
            raw = client.get(BLOB.format(symbol))
        return None if raw is None else _item(json.loads(raw), time.monotonic_ns())

    def events(self, kind: str, since_s: float) -> list[dict[str, Any]]:
        """Return the events of a kind in the stream since a wall clock time."""
        with self.redis() as client:
            rows = client.xrange(STREAM, min=f"{round(since_s * 1000)}-0")
        told = [json.loads(fields[b"e"]) for _, fields in rows]
        return [one for one in told if one["k"] == kind]

    def since(self, mono_ns: int, symbols: Iterable[str] = ()) -> list[Item]:
        """Return what was read from a time on, of these symbols or of all."""
        wanted = set(symbols)
        found = []
        for one in reversed(self.items):
            if one.mono_ns < mono_ns:
                break
            if not wanted or one.symbol in wanted:
                found.append(one)
        return found[::-1]

    def last(self, symbol: str, mono_ns: int | None = None) -> Item | None:
        """Return the newest item of a symbol that was read up to a time."""
        for one in reversed(self.items):
            if one.symbol == symbol and (mono_ns is None or one.mono_ns <= mono_ns):
                return one
        return None

    def true_around(self, symbol: str, mono_ns: int, s: float = 2.0) -> tuple[int, int] | None:
        """Return the lowest and highest price that the market showed around a time."""
        known = self.truth.get(symbol, [])
        at = bisect_left(known, (mono_ns - round(s * NS_PER_S), 0))
        prices = []
        for when, price in known[max(at - 1, 0) :]:
            prices.append(price)
            if when > mono_ns + round(s * NS_PER_S):
                break
        return (min(prices), max(prices)) if prices else None


def lasts(shown: dict[str, Any]) -> list[tuple[str, float]]:
    """Return symbol and last price of each row of the simulator's /market."""
    return [(row["symbol"], float(row["last"])) for row in shown["symbols"] if row["last"]]


def _item(each: dict[str, Any], mono_ns: int) -> Item:
    return Item(
        mono_ns, each["s"], each["p"], each["src"], each["q"], each["e"], each["r"], each["n"]
    )
