"""A trading run whose price vendors fail, a consumer who watches, and baits for wrong prices.

Rules of this file:
- what is judged is what a consumer outside saw, what PostgreSQL keeps, and the gateway's ledger;
  the engine's own word is used for waiting alone;
- baits are positions with targets and stops that only a wrong price can reach: an order of theirs
  while a vendor fails is a violation;
- waits of the policy are shortened by configuration, in the same proportions for every row.
"""

import json
import os
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

from chaos.matrix.harness import SPEED, World
from chaos.vendors.rows import BESIDE, BROKER, DELAYED, POLLED, PREMIUM, STREAM, Row
from support.price_watch import Item, Watch
from support.run_bench import DEADLINE_S, bench, eventually

RESULTS = "VENDOR_FAULTS_RESULTS"
"""Where the result of each row is kept, where set."""

BAITS = ("SPY", "GOOGL")
"""Held on the paper account; 8 % more would reach a target, 20 % less the stop.

No row is given these by the run."""

POLICY = {
    "TIERS_GRACE_S": "0.5",
    "TIERS_FAILBACK_S": "1",
    "TIERS_DWELL_S": "1",
    "TIERS_SWITCHES_PER_HOUR": "60",
    "TIERS_QUIET_S_MAX": "6",
    "TIERS_ANSWER_S_MAX": "4",
    "TIERS_PAUSE_S": "2",
    "TIERS_PAUSE_S_MAX": "8",
    "TIERS_YAHOO_S_MAX": "6",
    "TIERS_ALPHAVANTAGE_S_MAX": "6",
    "TIERS_IB_QUIET_S_MAX": "6",
    "FEED_FILTER_STALE_S_MAX": "3",
    "FINNHUB_SILENT_S_MAX": "3",
    "YAHOO_POLL_S": "10",
    "YAHOO_ANSWER_S_MAX": "5",
    "ALPHAVANTAGE_POLL_S": "20",
    "IBQUOTES_ENABLED": "false",
}
"""The policy in real seconds, about a twentieth of the defaults; polls are in market seconds."""

OWN = {
    STREAM: {},
    POLLED: {},
    PREMIUM: {"ALPHAVANTAGE_PLAN": "realtime"},
    DELAYED: {"ALPHAVANTAGE_PLAN": "delayed", "YAHOO_ENABLED": "false"},
    BROKER: {"IBQUOTES_ENABLED": "true"},
    BESIDE: {"IBQUOTES_ENABLED": "true"},
}
SERVES = {
    STREAM: "finnhub",
    POLLED: "yahoo",
    PREMIUM: "alphavantage",
    DELAYED: "alphavantage",
    BROKER: "ib",
    BESIDE: "ib",
}
NEXT = {STREAM: "yahoo", PREMIUM: "yahoo", BESIDE: "finnhub"}
FINNHUB_DOWN = ("finnhub.refuse_stream", "finnhub.server_error")
RECENT_S = 2.0
NS_PER_S = 1_000_000_000
WRONG_SHARE = 0.05
"""Further from the market than this, a price is wrong; the faults move prices by 20 %."""

AGE_S_MAX = 6.0
"""The oldest live price by any rule of POLICY, in real seconds."""

BACK_S_MAX = 150.0
"""A breaker's pauses grow with each failure, and a loaded box takes its time."""

ROWS_MAX = 12
"""So many rows with failing polls share a run: what one leaves behind should not pile up."""

TOLD_S = 1
"""A price moves an order before a consumer outside, on a loaded box, has read it."""

VERDICTS = """
SELECT symbol, source, verdict, check_name, price_micros FROM trade.tick_verdict
WHERE recorded_at >= to_timestamp($1) ORDER BY recorded_at
"""
BAIT = {"stop": {"percent": 20}, "steps": [{"at": {"r": "0.4"}, "take": {"fraction": "0.5"}}]}


class Vendors:
    """One run, one consumer, and what was done to the vendors."""

    def __init__(self, world: World, watch: Watch, kind: str) -> None:
        self.world, self.watch, self.kind = world, watch, kind
        self.speed = float(world.sim("/clock")["speed"])
        self.serves = SERVES[kind]
        self.taken_over_s = 0.0
        """How long it took until the source that this kind is about served, from its start."""

        self.failures = 0
        """Rows so far in which the vendor that serves failed."""

    @classmethod
    @contextmanager
    def started(cls, kind: str, speed: int = SPEED) -> Iterator["Vendors"]:
        """Start a run in which the vendor that this kind is about serves the baits."""
        with bench() as box, ExitStack() as stack:
            world = World.started(box, speed=speed, **{**POLICY, **OWN[kind]})
            stack.callback(world.close)
            watch = Watch(box, BAITS)
            stack.callback(watch.close)
            made = cls(world, watch, kind)
            for symbol in BAITS:
                world.open(symbol, **BAIT)
            if kind not in (STREAM, BESIDE):
                made.finnhub_down()
            if kind == BROKER:
                made.set("yahoo.server_error")
                made.set("alphavantage.server_error")
            if kind == DELAYED:
                made.until_shown("alphavantage", "delayed")
            else:
                made.taken_over_s = made.until_served(made.serves)
            yield made
            if world.run.popen.poll() is None:
                world.run.send(signal.SIGTERM)
                code = world.run.wait(2 * DEADLINE_S)
                assert code == 0, f"the run ended with {code}: {world.run.err[-2000:]}"

    # --- faults ---

    def set(self, name: str, **arguments: Any) -> None:
        """Set a fault."""
        self.world.fault(name, **arguments)

    def clear(self, *names: str) -> None:
        """End faults."""
        for name in names:
            self.world.clear(name)

    def finnhub_down(self) -> None:
        """Take Finnhub away altogether."""
        for name in FINNHUB_DOWN:
            self.set(name)
        self.set("finnhub.drop_connection")

    def finnhub_up(self) -> None:
        """Let Finnhub come back."""
        self.clear(*FINNHUB_DOWN)

    def hits(self, name: str) -> int:
        """Return how often the fault that is set was met; -1 once it has ended by its count."""
        board = name.partition(".")[0]
        row = next(
            row
            for row in self.world.sim("/faults")[board]
            if f"{board}.{row['name']}" == name or row["name"] == name
        )
        return int(row["active"][0]["hits"]) if row["active"] else -1

    def until_met(self, name: str, count: int = 1) -> None:
        """Wait until a fault was met so often, or has ended by its count."""
        eventually(lambda: not 0 <= self.hits(name) < count, f"{name} is met")

    def pass_market_s(self, seconds: float) -> None:
        """Wait until so much of the market's time has passed."""
        until_ns = self.world.sim("/clock")["now_ns"] + round(seconds * NS_PER_S)
        eventually(lambda: self.world.sim("/clock")["now_ns"] >= until_ns, "time passes")

    # --- what consumers see ---

    def now(self, symbol: str) -> Item | None:
        """Return what a consumer knows of a symbol from the last moments; None: nothing new."""
        item = self.watch.last(symbol)
        if item is None or time.monotonic_ns() - item.mono_ns > RECENT_S * NS_PER_S:
            return None
        return item

    def is_served(self, symbol: str, source: str) -> bool:
        """Say whether a symbol is live by this source right now."""
        item = self.now(symbol)
        return item is not None and item.is_live and item.source == source

    def until_served(self, source: str, *symbols: str) -> float:
        """Wait until symbols are live by a source; return the seconds that took."""
        began_s = time.monotonic()
        for symbol in symbols or BAITS:
            eventually(
                lambda at=symbol: self.is_served(at, source),
                f"{symbol} live by {source}; last {self.watch.last(symbol)}",
                BACK_S_MAX,
            )
        return round(time.monotonic() - began_s, 2)

    def until_shown(self, source: str, quality: str, *symbols: str) -> None:
        """Wait until symbols, by default the baits, are told by a source in a quality."""
        for symbol in symbols or BAITS:
            eventually(
                lambda at=symbol: (
                    (item := self.watch.last(at)) is not None
                    and (item.source, item.quality) == (source, quality)
                ),
                f"{symbol} {quality} by {source}; last {self.watch.last(symbol)}",
                BACK_S_MAX,
            )

    def is_not_live(self, symbol: str) -> bool:
        """Say whether the blob of a symbol is gone, not live, or too old by its own event time."""
        blob = self.watch.blob(symbol)
        if blob is None or not blob.is_live:
            return True
        now_ns = int(self.world.sim("/clock")["now_ns"])
        return now_ns - blob.event_ns > AGE_S_MAX * self.speed * NS_PER_S

    def until_not_live(self, *symbols: str) -> float:
        """Wait until no consumer can take a symbol's price for live; return the seconds."""
        began_s = time.monotonic()
        for symbol in symbols or BAITS:
            eventually(lambda at=symbol: self.is_not_live(at), f"{symbol} not live")
        return round(time.monotonic() - began_s, 2)

    def until_more(self, count: int, symbol: str, source: str) -> None:
        """Wait for so many new live prices of a symbol by a source."""
        since_ns = time.monotonic_ns()

        def enough() -> bool:
            seen = self.watch.since(since_ns, [symbol])
            return sum(1 for one in seen if one.is_live and one.source == source) >= count

        eventually(enough, f"{count} live prices of {symbol} by {source}")

    def longest_gap_s(self, symbol: str, since_ns: int) -> float:
        """Return the longest time without a price of a symbol."""
        times = [since_ns, *(one.mono_ns for one in self.watch.since(since_ns, [symbol]))]
        return round(max(b - a for a, b in pairwise(times)) / NS_PER_S, 2)

    def switches(self, since_s: float) -> list[str]:
        """Return every change of source since a wall clock time, as the stream of events tells."""
        return [
            f"{one['symbol']} {one['before']} to {one['after']}: {one['reason']}"
            for one in self.watch.events("price_source_changed", since_s)
        ]

    def aged(self, since_s: float) -> list[str]:
        """Return every symbol that was said to be stale since a wall clock time."""
        told = self.watch.events("price_age_changed", since_s)
        return [one["symbol"] for one in told if one["is_stale"]]

    # --- what PostgreSQL keeps ---

    def refusals(self, since_s: float, symbol: str = "") -> list[dict[str, Any]]:
        """Return the verdicts written since a wall clock time."""
        rows = self.world.clerk.rows(VERDICTS, since_s)
        return [row for row in rows if symbol in ("", row["symbol"])]

    # --- the judge ---

    def wrong(self, since_ns: int, *doubts: str) -> list[str]:
        """Return each price that was far from the market: of now, or delayed.

        doubts: qualities that say already that the price may be wrong.
        """
        found = []
        for one in self.watch.since(since_ns):
            around = self.watch.true_around(one.symbol, one.mono_ns)
            if around is None or one.quality in ("eod", "closed", *doubts):
                continue
            low, high = around
            share = WRONG_SHARE * (2 if one.quality == "delayed" else 1)
            if not low * (1 - share) <= one.price <= high * (1 + share):
                found.append(f"{one.symbol} {one.price} by {one.source} as {one.quality}: {around}")
        return found

    def too_old(self, since_ns: int) -> list[str]:
        """Return each price that was told as live though its event was too long ago."""
        limit_ns = AGE_S_MAX * self.speed * NS_PER_S
        return [
            f"{one.symbol} by {one.source}: {(one.recv_ns - one.event_ns) / NS_PER_S:.0f} s old"
            for one in self.watch.since(since_ns)
            if one.is_live and one.recv_ns - one.event_ns > limit_ns
        ]

    def backwards(self, since_ns: int) -> list[str]:
        """Return each price of a source that was of before one that the source had shown."""
        newest: dict[tuple[str, str], int] = {}
        found = []
        for one in self.watch.since(since_ns):
            key = (one.symbol, one.source)
            if one.event_ns < newest.get(key, 0):
                back_s = (newest[key] - one.event_ns) / NS_PER_S
                found.append(f"{one.symbol} {one.quality} by {one.source}: {back_s:.1f} s back")
            newest[key] = max(one.event_ns, newest.get(key, 0))
        return found

    def orders(self, since_ns: int, *expected: str) -> list[str]:
        """Return orders of ours since a time in symbols whose orders nobody expected."""
        rows = self.world.ledger("order_placed")
        return [
            f"{row['ticket']['symbol']} {row['ticket']['side']} {row['ticket']['order_type']}"
            for row in rows
            if row["mono_ns"] >= since_ns
            and row["ticket"]["order_ref"].startswith("tb")
            and row["ticket"]["symbol"] not in expected
        ]

    def fired_blind(self, since_ns: int) -> list[str]:
        """Return orders that open risk though no consumer had a live price just before."""
        found = []
        for row in self.world.ledger("order_placed"):
            ticket = row["ticket"]
            opens = ticket["tif"] != "IOC" and ticket["order_type"] != "STP"
            if row["mono_ns"] < since_ns or not opens or not ticket["order_ref"].startswith("tb"):
                continue
            at_ns, symbol = row["mono_ns"], ticket["symbol"]
            near = self.watch.since(at_ns - round(AGE_S_MAX * NS_PER_S), [symbol])
            before = [one for one in near if one.mono_ns <= at_ns][-1:]
            told = [one for one in near if at_ns < one.mono_ns <= at_ns + TOLD_S * NS_PER_S][:1]
            if not any(one.is_live for one in (*before, *told)):
                found.append(f"{symbol} {ticket['side']}: {before} {told}")
        return found

    def seen(self, since_ns: int) -> dict[str, int]:
        """Return how many prices of each source and quality consumers saw."""
        return dict(Counter(f"{one.source} {one.quality}" for one in self.watch.since(since_ns)))

    def judge(self, since_ns: int, *expected: str, doubts: tuple[str, ...] = ()) -> dict[str, Any]:
        """Return what a row showed; asserts that nothing wrong was told and no order fired on it.

        expected: symbols that the row itself lets trade; doubts: as `wrong` knows them.
        """
        found = {
            "wrong prices": self.wrong(since_ns, *doubts),
            "live though old": self.too_old(since_ns),
            "back in time": self.backwards(since_ns),
            "orders of baits": self.orders(since_ns, *expected),
            "entries without a live price": self.fired_blind(since_ns),
        }
        assert not any(found.values()), {name: rows[:5] for name, rows in found.items() if rows}
        since_s = time.time() - (time.monotonic_ns() - since_ns) / NS_PER_S
        told = {"switches": self.switches(since_s), "said stale": self.aged(since_s)}
        return {"seen": self.seen(since_ns), **told, **dict.fromkeys(found, 0)}

    @property
    def is_worn(self) -> bool:
        """Say whether another row should have a fresh run."""
        is_patient = self.kind in (POLLED, PREMIUM) and self.failures >= ROWS_MAX
        return is_patient or self.world.is_worn


class Runs:
    """The run that rows of a kind share; a row that fails takes its run with it.

    Rows come world by world: a run ends when one of another kind is asked for.
    """

    def __init__(self) -> None:
        self._runs: dict[str, tuple[Vendors, ExitStack]] = {}

    @contextmanager
    def lent(self, kind: str) -> Iterator[Vendors]:
        """Lend a run."""
        for other in [one for one in self._runs if one != kind]:
            self._end(other)
        known = self._runs.get(kind)
        if known is not None and known[0].is_worn:
            self._end(kind)
            known = None
        if known is None:
            stack = ExitStack()
            known = (stack.enter_context(Vendors.started(kind)), stack)
            self._runs[kind] = known
        try:
            yield known[0]
        except BaseException:
            self._end(kind)
            raise

    def _end(self, kind: str) -> None:
        _, stack = self._runs.pop(kind)
        stack.close()

    def close(self) -> None:
        """End every run."""
        for kind in list(self._runs):
            self._end(kind)


def played(runs: Runs, row: Row, play: Callable[[Vendors, Row], dict[str, Any]]) -> None:
    """Play a row on a run of its kind and keep what it showed."""
    words = {"world": row.world, "expect": row.expect}
    with told(row.name, **words) as result, runs.lent(row.world) as vendors:
        vendors.failures += row.expect in ("not_live", "handed_on")
        result["shown"] = play(vendors, row)


@contextmanager
def told(name: str, **words: str) -> Iterator[dict[str, Any]]:
    """Keep what is put in, passed or failed."""
    began_s = time.monotonic()
    result: dict[str, Any] = {**words, "passed": False}
    try:
        yield result
        result["passed"] = True
    finally:
        result["took_s"] = round(time.monotonic() - began_s, 1)
        keep(name, result)


def keep(name: str, result: dict[str, Any]) -> None:
    """Put a result beside the others, where they are kept."""
    if not os.environ.get(RESULTS):
        return
    path = Path(os.environ[RESULTS])
    known = json.loads(path.read_text()) if path.exists() else {}
    path.write_text(json.dumps({**known, name: result}, indent=2, sort_keys=True) + "\n")
