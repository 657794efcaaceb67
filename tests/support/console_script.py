"""A scripted source of rows and a frozen clock for the console's tests."""

from copy import deepcopy
from decimal import Decimal

from tradebox.readmodel import BarRow, EventRow, Row, StepRow
from tradebox_tui.text import number as figure

SECOND_NS = 1_000_000_000
START_NS = 1_000 * SECOND_NS
MARKET_NS = 1_421_245_927 * SECOND_NS
EPOCH = 14


def plan_row(number, symbol, side, state, **changes):
    long = side == "BUY"
    entry, risk = Decimal("100.00") + number, Decimal("0.50")
    sign = 1 if long else -1
    is_open = state in ("open", "exiting")
    last = entry + sign * risk * Decimal("1.3")
    row = {
        "account": "paper",
        "plan_id": f"P-{number:04d}",
        "symbol": symbol,
        "side": side,
        "state": state,
        "quantity": 60 if is_open else 0,
        "initial_quantity": 120,
        "entry_price": str(entry) if is_open else None,
        "stop_price": str(entry - sign * risk),
        "initial_stop": str(entry - sign * risk),
        "last_price": str(last),
        "last_source": "finnhub",
        "last_quality": "live",
        "last_event_ns": MARKET_NS - 2 * SECOND_NS,
        "r_multiple": 0.9 if is_open else None,
        "pnl_usd": "54.00" if is_open else None,
        "realised_usd": "15.00" if is_open else "0",
        "levels": [
            ["E", str(entry), "done" if is_open else "watched"],
            ["S", str(entry - sign * risk), "working"],
            ["T1", str(entry + sign * risk), "done" if is_open else "watched"],
            ["T2", str(entry + sign * risk * 2), "watched"],
        ],
        "opened_ns": MARKET_NS - 41 * 60 * SECOND_NS if is_open else None,
        "updated_ns": MARKET_NS,
        "is_demo": True,
    }
    return {**row, **changes}


def normal_rows():
    """Return the data of every row of a quiet day."""
    plans = [
        plan_row(1, "NVDA", "BUY", "open"),
        plan_row(2, "AAPL", "SELL", "open", stop_price="102.00", quantity=120, r_multiple=-0.5,
                 pnl_usd="-60.00", last_price="102.25",
                 levels=[["E", "102.00", "done"], ["S", "102.00", "working"],
                         ["T1", "101.50", "watched"]]),
        plan_row(3, "GE", "BUY", "armed"),
        plan_row(4, "TSLA", "BUY", "closed", quantity=0, r_multiple=1.2, pnl_usd="72.00"),
    ]  # fmt: skip
    positions = [
        {"account": "paper", "symbol": "NVDA", "quantity": 60, "stop_quantity": 60,
         "in_flight_quantity": 0, "covered": True, "average_price": "101.00", "at_ns": MARKET_NS},
        {"account": "paper", "symbol": "AAPL", "quantity": -120, "stop_quantity": 100,
         "in_flight_quantity": 20, "covered": True, "average_price": "102.00",
         "at_ns": MARKET_NS},
    ]  # fmt: skip
    names = [
        "root", "stores", "stores.journal", "stores.bus", "market", "market.feed_a",
        "market.feed_b", "market.ingest", "market.ingest.finnhub", "market.publisher", "managers",
        "managers.manager_a", "managers.manager_b", "trading", "trading.paper",
        "trading.paper.link", "trading.paper.reconciler", "trading.paper.controller", "dashboard",
    ]  # fmt: skip
    branches = {"root", "stores", "market", "market.ingest", "managers", "trading",
                "trading.paper"}  # fmt: skip
    health = [
        {"name": name, "type": "supervisor" if name in branches else "worker", "state": "running",
         "uptime_s": 13_260.0, "restarts": 1 if name == "market.feed_b" else 0,
         "intensity": "0/3 in 10s" if name in branches else None,
         "last_reason": "feed stale" if name == "market.feed_b" else None,
         "mailbox_depth": 3 if name == "market.feed_b" else 0, "checkin_age_s": 0.4,
         "epoch": EPOCH, "incarnation": 1, "restart_type": "permanent",
         "restarts_ns": [START_NS - 1200 * SECOND_NS] if name == "market.feed_b" else []}
        for name in names
    ]  # fmt: skip
    orders = [
        {"account": "paper", "order_ref": f"tb-{at:04d}", "plan_id": plan, "symbol": symbol,
         "role": role, "side": side, "quantity": size, "filled": filled, "order_type": kind,
         "limit_price": None, "stop_price": stop, "state": state, "order_id": 7100 + at,
         "perm_id": 0, "at_ns": MARKET_NS - at * 60 * SECOND_NS,
         "first_ns": MARKET_NS - (at + 1) * 60 * SECOND_NS, "path": ["sending", "acked", state],
         "average_price": "101.02" if filled else None, "fill_quantity": filled,
         "reference_price": stop or "101.00"}
        for at, (plan, symbol, role, side, size, filled, kind, stop, state) in enumerate([
            ("P-0001", "NVDA", "entry", "BUY", 120, 120, "MKT", None, "filled"),
            ("P-0001", "NVDA", "stop", "SELL", 60, 0, "STP", "100.50", "working"),
            ("P-0002", "AAPL", "stop", "BUY", 100, 0, "STP", "102.00", "working"),
        ])
    ]  # fmt: skip
    alerts = [
        {"number": at, "kind": kind, "symbol": symbol, "text": words, "account": "paper",
         "at_ns": MARKET_NS - (40 - at) * SECOND_NS}
        for at, (kind, symbol, words) in enumerate([
            ("link", None, "CLEAN reconciled"),
            ("fill", "NVDA", "entry BUY 120 @ 101.00"),
            ("restart", None, "market.feed_b: feed stale"),
            ("denied", "TSLA", "max_open_risk: 4.20 against 4.00"),
            ("step", "NVDA", "scale_out @ 101.50: price reached 1 R"),
        ])
    ]  # fmt: skip
    journal = [
        {"number": at, "at_ns": MARKET_NS - (90 - 30 * at) * SECOND_NS, "kind": kind,
         "account": account, "symbol": symbol, "plan_id": plan, "order_ref": ref, "actor": actor,
         "text": words}
        for at, (kind, account, symbol, plan, ref, actor, words) in enumerate([
            ("link", "paper", None, None, None, None, "state=CLEAN reason=reconciled"),
            ("order", "paper", "NVDA", "P-0001", "tb-0001", None, "stop SELL 0/60 working"),
            ("restart", None, None, None, None, "market.feed_b", "market.feed_b: feed stale"),
        ])
    ]  # fmt: skip
    return {
        "journal": journal,
        "header": {
            "profile": "sim", "world": "SIMULATED", "run_id": "r1", "generation": 1,
            "epoch": EPOCH, "active_feed": "feed_a", "market_ns": MARKET_NS, "speed": 20.0,
            "session": "open", "session_until_ns": MARKET_NS + 19_620 * SECOND_NS,
            "postgres": True, "redis": True,
            "ticks": {"received": 5000, "admitted": 4990, "published": 4980, "refused": 10},
            "counts": {"fills": 3, "denied": 1, "rejected": 0, "refused_ticks": 10, "restarts": 1},
        },
        "accounts": [
            {"name": "paper", "account": "SIM1234567", "account_id": "SIM1234567", "link": "CLEAN",
             "gateway": "127.0.0.1:5000", "net_liquidation_usd": "100375.50",
             "cash_usd": "88000.00", "realised_day_usd": "15.00", "open_risk_usd": "1030.00"},
        ],
        "positions": positions,
        "plans": plans,
        "orders": orders,
        "health": health,
        "alerts": alerts,
        "feeds": [
            {"symbol": symbol, "price_micros": 101_650_000 + at, "size": 100, "source": "finnhub",
             "tier": 1, "quality": quality, "event_ns": MARKET_NS - at * SECOND_NS,
             "pub_seq": 900 - at, "epoch": EPOCH, "ticks": 300 - at, "gaps": at % 2,
             "refused": 2 if symbol == "TSLA" else 0}
            for at, (symbol, quality) in enumerate(
                [("AAPL", "live"), ("GE", "stale"), ("NVDA", "live"), ("TSLA", "suspect")]
            )
        ],
    }  # fmt: skip


def stored_events(count, first=1):
    """Return events as the journal keeps them, oldest first."""
    kinds = (
        ("plan_state", '{"from": "armed", "to": "open"}'),
        ("fill_booked", '{"price": "101.00"}'),
        ("plan_step", '{"kind": "scale_out", "reason": "price reached 1 R"}'),
    )
    return [
        EventRow(first + at, MARKET_NS - (count - at) * 20 * SECOND_NS, EPOCH, *kinds[at % 3][:1],
                 "paper", f"P-{at % 2 + 1:04d}", f"tb-{at % 3:04d}", ("NVDA", "AAPL")[at % 2],
                 kinds[at % 3][1])
        for at in range(count)
    ]  # fmt: skip


def backtests(runs=2, stocks=4):
    """Return runs, newest first, and the stocks of each."""
    names = ("NVDA", "AAPL", "GE", "TSLA")
    found = [
        {"run_id": f"bt-2016-{runs - at:04d}", "state": "running" if at == 0 else "done",
         "universe": "sp500", "strategies": "breakout", "symbol_count": stocks, "task_count": 8,
         "task_ended": 3 if at == 0 else 8, "result_count": stocks, "refused_count": 1,
         "failed_count": at, "mismatch_count": at, "grade_a": 1, "grade_b": 1, "grade_c": 0,
         "grade_d": 0, "grade_f": stocks - 2, "error": "", "created_ns": MARKET_NS,
         "took_s": 125.0}
        for at in range(runs)
    ]  # fmt: skip
    rows = [
        {"symbol": names[at] if at < len(names) else f"S{at}", "status": "ok",
         "strategy": "breakout", "grade": ("A", "B", "F", "F")[min(at, 3)], "trades": 120 - at,
         "expectancy_r": 0.31 - 0.2 * min(at, 9) / 2, "profit_factor": 1.9 - 0.3 * min(at, 5),
         "drawdown_r": 4.0 + at, "sharpe": 1.1, "is_verified": (True, False, None)[at % 3]}
        for at in range(stocks)
    ]  # fmt: skip
    return found, {one["run_id"]: [{**row, "run_id": one["run_id"]} for row in rows]
                   for one in found}  # fmt: skip


class Script:
    """A source that answers what it is told; `now_ns` is the frozen clock."""

    def __init__(self, rows=None):
        self.data = {} if rows is None else rows
        self.now_ns = START_NS
        self.written_ns = START_NS
        self.epoch = EPOCH
        self.waiting = ""
        self.history_waiting = ""
        self.profile = "sim"
        self.world = "SIMULATED"
        self.asked = []
        self.stored = stored_events(12) if rows else []
        self.backtests, self.stocks = backtests() if rows else ([], {})
        self.kept_orders = []
        self.closed = False

    def clock(self):
        return self.now_ns

    def tick(self, seconds=1.0, *, write=True):
        """Let time pass; with write the rows are written anew."""
        self.now_ns += int(seconds * SECOND_NS)
        if write:
            self.written_ns = self.now_ns

    def row(self, name):
        if name not in self.data:
            return None
        period_s = 2.0 if name == "feeds" else 1.0
        data = deepcopy(self.data[name])
        if name == "header" and isinstance(data, dict):
            data.setdefault("day", self.day())
        return Row(self.epoch, MARKET_NS, self.written_ns, period_s, data)

    def day(self):
        """Return the figures of the day as the engine sums them up: all plans are of today."""
        plans, counts = self.data.get("plans"), self.data["header"].get("counts")
        rows = [row for row in plans if isinstance(row, dict)] if isinstance(plans, list) else []

        def total(name):
            return sum((figure(row.get(name)) or Decimal(0) for row in rows), start=Decimal(0))

        figures = {"net_r": float(total("r_multiple")), "net_usd": str(total("pnl_usd"))}
        return {**figures, **(counts if isinstance(counts, dict) else {})}

    async def rows(self, names):
        self.asked.append(tuple(names))
        return {name: None if self.waiting else self.row(name) for name in names}

    async def steps(self, plan_id):
        return [
            StepRow(1, "entry", Decimal("101.00"), 120, "broker", MARKET_NS - 2460 * SECOND_NS,
                    "entry filled"),
            StepRow(2, "scale_out", Decimal("101.50"), 60, "finnhub", MARKET_NS - 60 * SECOND_NS,
                    "price reached 1 R"),
        ]  # fmt: skip

    async def bars(self, symbol, interval_s, until_ns, count=200):
        return [
            BarRow(MARKET_NS - (40 - at) * 60 * SECOND_NS, *(Decimal(100 + at % 7) / 1,) * 4, 100)
            for at in range(40)
        ]

    async def events(self, about=None, count=200, *, before=None, after=None):
        if self.history_waiting:
            return None
        found = [
            row
            for row in self.stored
            if about in (None, row.plan_id, row.order_ref, row.symbol)
            and (before is None or row.seq < before)
            and (after is None or row.seq > after)
        ]
        return found[:count] if after is not None else found[-count:]

    async def schema(self):
        return None if self.history_waiting else 4

    async def runs(self):
        return None if self.history_waiting else self.backtests

    async def results(self, run_id):
        return None if self.history_waiting else self.stocks.get(run_id, [])

    async def orders(self):
        return None if self.history_waiting else deepcopy(self.kept_orders)

    async def spread(self, run_id):
        if self.history_waiting:
            return None
        return [(at, 40 - abs(at) + at % 3) for at in range(-6, 14)]

    async def equity(self, run_id, symbol):
        if self.history_waiting:
            return None
        rise = 0.2 if symbol == "NVDA" else -0.1
        return [rise * at + (at % 7) * 0.4 for at in range(60)]

    async def close(self):
        self.closed = True
