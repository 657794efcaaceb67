"""The whole gate against an oracle of its own: approved exactly where no limit is broken.

Rules of this file:
- every figure that the gate is told is drawn: sound, at its limit, beyond it, absurd, unknown;
- the oracle counts in fractions and shares no line with the gate; what it cannot compute with
  (unknown, no number) is broken, and nothing that is broken may be approved.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from decimal import Decimal
from fractions import Fraction
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, Phase, given, settings

from support.gate_world import ACCOUNT, LIMITS, SYMBOL
from tradebox.domain import order_gate
from tradebox.domain.gate_checks import ENTRY_CHECKS
from tradebox.domain.gate_values import (
    AccountView,
    EntryProposal,
    GateLimits,
    SymbolView,
)
from tradebox.domain.market import Quality
from tradebox.domain.order_gate import Approved, approve_entry
from tradebox.domain.orders import (
    AccountName,
    Denied,
    OrderIntent,
    OrderRole,
    OrderType,
    Side,
    Tif,
)
from tradebox.domain.path import LinkState


@dataclass(frozen=True)
class Case:
    proposal: EntryProposal
    account: AccountView
    symbol: SymbolView
    limits: GateLimits


# what is drawn

NO_NUMBERS = st.sampled_from([None, Decimal("NaN"), Decimal("Infinity"), Decimal("-Infinity")])
PRICES = (
    st.integers(1, 30_000).map(lambda n: Decimal(n) / 100)
    | st.integers(9_400, 10_600).map(lambda n: Decimal(n) / 100)
    | (st.integers(9_000, 9_499) | st.integers(10_501, 11_400)).map(lambda n: Decimal(n) / 100)
    | st.sampled_from([Decimal(text) for text in ("0", "-1", "100.005", "1E+30", "1E-9", "NaN")])
)


def money(low: int, high: int) -> st.SearchStrategy[Decimal | None]:
    return st.integers(low, high).map(Decimal) | NO_NUMBERS


def tenths(low: int, high: int) -> st.SearchStrategy[Decimal | None]:
    return st.integers(low, high).map(lambda n: Decimal(n) / 10) | NO_NUMBERS


def maybe(*values: object) -> st.SearchStrategy[Any]:
    return st.sampled_from([None, *values])


def count(high: int) -> st.SearchStrategy[int | None]:
    return st.none() | st.integers(0, high)


FIGURES: dict[str, dict[str, st.SearchStrategy[Any]]] = {
    "account": {
        "account_agrees": maybe(True, False),
        "link": maybe(*LinkState),
        "is_killed": maybe(True, False),
        "is_halted": maybe(True, False),
        "audit_is_up": maybe(True, False),
        "short_is_allowed": maybe(True, False),
        "session_is_open": maybe(True, False),
        "net_liquidation_usd": money(95_000, 120_000) | money(-1, 200_000),
        "day_start_usd": money(95_000, 105_000) | money(-1, 200_000),
        "gross_notional_usd": money(-9, 100_000) | money(-9, -1),
        "open_risk_usd": money(-9, 6_000) | money(-9, -1),
        "rejects": count(8),
        "entry_tokens": count(4),
        "reduce_tokens": count(4),
        "peak_usd": money(90_000, 120_000) | money(-1, 1),
        "stops_in_row": count(12),
        "available_usd": money(-5, 60_000),
        "clock_skew_s": tenths(-30, 40),
        "is_first_day": maybe(True, False),
        "currency": maybe("USD", "EUR", ""),
    },
    "symbol": {
        "increment": maybe(Decimal("0.01"), Decimal("0.05"), Decimal(0), Decimal("NaN")),
        "position": st.none() | st.integers(-600, 600),
        "plan_position": st.none() | st.integers(-2, 2),
        "has_live_entry": maybe(True, False),
        "opposing_orders": count(2),
        "blocked": maybe("", "external order"),
        "unproven": maybe("", "unknown order x"),
        "rejects": count(6),
        "known_refs": maybe(frozenset(), frozenset({"ref-entry"}), frozenset({"ref-stop"})),
        "day_volume": st.none() | st.integers(-1, 30_000),
        "ex_date": maybe("", "split 2:1"),
        "repeat_age_s": tenths(-5, 30),
        "entries_last_min": count(30),
        "margin_share": st.integers(-10, 200).map(lambda n: Decimal(n) / 100) | NO_NUMBERS,
        "spread_share": st.integers(-10, 60).map(lambda n: Decimal(n) / 1000) | NO_NUMBERS,
        "last_close": st.integers(60, 160).map(Decimal) | money(-1, 1),
        "is_halted": maybe(True, False),
    },
    "price": {
        "price": PRICES | st.sampled_from([Decimal("Infinity")]),
        "quality": st.sampled_from(Quality),
        "age_s": st.integers(-200, 200).map(lambda n: Decimal(n) / 10)
        | st.sampled_from([Decimal("NaN"), Decimal("Infinity")]),
        "": st.none(),
    },
    "limits": {
        "first_day_notional_usd_max": maybe(Decimal(1_000), Decimal(10_000)),
        "volume_share_max": maybe(Decimal("0.02"), Decimal("0.0001")),
        "close_collar_share_max": maybe(Decimal("0.3"), Decimal("0.015")),
        "order_quantity_max": st.integers(1, 1_000),
        "stop_distance_share_max": st.integers(1, 40).map(lambda n: Decimal(n) / 100),
        "initial_margin_share": st.integers(1, 10).map(lambda n: Decimal(n) / 10),
    },
    "entry": {
        "order_ref": st.sampled_from(["", "ref-stop", "used", "a:b", "x" * 36, "x" * 37, "ref-e"]),
        "quantity": st.integers(-5, 800) | st.sampled_from([True, 1.5, 10**40]),
        "limit_price": st.none() | PRICES,
        "stop_price": st.none() | PRICES,
        "order_type": st.sampled_from(OrderType),
        "role": st.sampled_from(OrderRole),
        "plan_id": st.sampled_from(["p1", "p2"]),
        "account": st.sampled_from(AccountName),
    },
    "stop": {
        "order_ref": st.sampled_from(["", "used", "a b", "x" * 37, "ref-s"]),
        "quantity": st.integers(-5, 800),
        "stop_price": st.none() | PRICES,
        "limit_price": st.none() | PRICES,
        "order_type": st.sampled_from(OrderType),
        "tif": st.sampled_from(Tif),
        "side": st.sampled_from(Side),
        "role": st.sampled_from(OrderRole),
        "parent_ref": st.sampled_from([None, "ref-entry", "another"]),
        "symbol": st.sampled_from(["AAPL", "MSFT"]),
        "con_id": st.sampled_from([1, 2]),
    },
}
NAMES = [(part, name) for part, figures in FIGURES.items() for name in figures]


@st.composite
def cases(draw: Callable[..., Any], among: list[tuple[str, str]] = NAMES, most: int = 3) -> Case:
    """A sound proposal on any side, of any type and size, with some figures redrawn."""
    side, kind = draw(st.sampled_from(Side)), draw(st.sampled_from(OrderType))
    quantity = draw(st.integers(1, 390))
    away = Decimal(draw(st.integers(1, 1_200))) / 100
    offset = Decimal(draw(st.integers(-400, 300))) / 100
    last = Decimal(100)
    at = last + offset if kind is not OrderType.MARKET else last
    entry = OrderIntent(
        "ref-entry", "p1", AccountName.PAPER, "AAPL", 1, OrderRole.ENTRY, side, quantity, kind,
        Tif.DAY, limit_price=at if kind is OrderType.LIMIT else None,
        stop_price=at if kind is OrderType.STOP else None,
    )  # fmt: skip
    stop = OrderIntent(
        "ref-stop", "p1", AccountName.PAPER, "AAPL", 1, OrderRole.STOP, side.opposite, quantity,
        OrderType.STOP, Tif.GTC, stop_price=at - side.sign * away, parent_ref="ref-entry",
    )  # fmt: skip
    parts: dict[str, Any] = {
        "account": ACCOUNT, "symbol": SYMBOL, "price": SYMBOL.price, "limits": LIMITS,
        "entry": entry, "stop": stop,
    }  # fmt: skip
    for part, name in draw(
        st.lists(st.sampled_from(among), min_size=int(most == 1), max_size=most, unique=True)
    ):
        value = draw(FIGURES[part][name])
        if parts[part] is not None:
            parts[part] = replace(parts[part], **{name: value}) if name else None
    symbol = replace(parts["symbol"], price=parts["price"])
    return Case(EntryProposal(parts["entry"], parts["stop"]), parts["account"], symbol,
        parts["limits"])  # fmt: skip


# the oracle


class Seen:
    """A case in fractions; what is no number raises as soon as it is used."""

    def __init__(self, case: Case) -> None:
        self.entry, self.stop = case.proposal.entry, case.proposal.stop
        self.account, self.symbol, self.limits = case.account, case.symbol, case.limits
        self.sign = self.entry.side.sign

    @property
    def last(self) -> Fraction:
        return Fraction(self.symbol.price.price)

    @property
    def at(self) -> Fraction:
        own = self.entry.limit_price or self.entry.stop_price
        return Fraction(own) if own else self.last

    @property
    def trigger(self) -> Fraction:
        return Fraction(self.stop.stop_price)

    @property
    def worst(self) -> Fraction:
        return max(self.at, self.last)

    @property
    def cost(self) -> Fraction:
        return self.entry.quantity * self.worst

    def of(self, name: str) -> Fraction:
        return Fraction(getattr(self.account, name))

    def limit(self, name: str) -> Fraction:
        return Fraction(getattr(self.limits, name))


def are_inputs_sound(c: Seen) -> bool:
    figures = ["gross_notional_usd", "open_risk_usd", "clock_skew_s"]
    unsigned = [c.of(name) for name in figures]
    unsigned += [Fraction(c.symbol.margin_share), Fraction(c.symbol.spread_share)]
    unsigned += [Fraction(c.symbol.repeat_age_s)]
    others = [c.of(name) for name in ("net_liquidation_usd", "day_start_usd", "peak_usd")]
    others += [c.of("available_usd"), Fraction(c.symbol.increment), c.last]
    others.append(Fraction(c.symbol.price.age_s))
    if c.symbol.last_close is not None:
        others.append(Fraction(c.symbol.last_close))
    return min(unsigned) >= 0 and len(others) >= 7


def are_fields_sound(c: Seen) -> bool:
    step = Fraction(c.symbol.increment)
    for order in (c.entry, c.stop):
        if not re.fullmatch(r"[A-Za-z0-9-]{1,36}", order.order_ref):
            return False
        if type(order.quantity) is not int or order.quantity < 1:
            return False
        has = (order.limit_price is not None, order.stop_price is not None)
        if has != (order.order_type is OrderType.LIMIT, order.order_type is OrderType.STOP):
            return False
        for price in (order.limit_price, order.stop_price):
            if price is None:
                continue
            if not 0 < Fraction(price) < 10**8 or (Fraction(price) / step).denominator != 1:
                return False
    return step > 0


def is_a_pair(c: Seen) -> bool:
    same = ("plan_id", "account", "symbol", "con_id", "quantity")
    return (
        all(getattr(c.entry, name) == getattr(c.stop, name) for name in same)
        and {c.entry.side, c.stop.side} == set(Side)
        and c.stop.parent_ref == c.entry.order_ref
        and (c.entry.role, c.stop.role) == (OrderRole.ENTRY, OrderRole.STOP)
    )


def is_protected(c: Seen) -> bool:
    fires = c.entry.order_type is OrderType.MARKET and (c.last - c.trigger) * c.sign <= 0
    away = (c.at - c.trigger) * c.sign
    return (
        c.stop.order_type is OrderType.STOP
        and c.stop.tif is Tif.GTC
        and not fires
        and 0 < away <= c.limit("stop_distance_share_max") * c.at
    )


def is_position_small(c: Seen) -> bool:
    held = c.symbol.position
    return (
        held * c.sign >= 0
        and (abs(held) + c.entry.quantity) * c.worst <= c.limit("position_notional_usd_max")
        and c.of("gross_notional_usd") + c.cost <= c.limit("gross_notional_usd_max")
    )


def is_inside_the_collar(c: Seen) -> bool:
    through, collar = (c.at - c.last) * c.sign, c.limit("price_collar_share_max") * c.last
    if c.entry.order_type is OrderType.LIMIT:
        return through <= collar
    return c.entry.order_type is OrderType.MARKET or abs(through) <= 5 * collar


def is_loss_bearable(c: Seen) -> bool:
    worth, start = c.of("net_liquidation_usd"), c.of("day_start_usd")
    at_risk = c.of("open_risk_usd") + abs(c.at - c.trigger) * c.entry.quantity
    return (
        worth > 0
        and start > 0
        and start - worth <= c.limit("day_loss_nlv_share_max") * start
        and at_risk <= c.limit("open_risk_nlv_share_max") * worth
    )


def is_margin_there(c: Seen) -> bool:
    share = max(c.limit("initial_margin_share"), Fraction(c.symbol.margin_share))
    return share * c.cost <= c.of("available_usd")


def is_near_the_last_close(c: Seen) -> bool:
    share = c.limits.close_collar_share_max
    if share is None:
        return True
    close = Fraction(c.symbol.last_close)
    return close > 0 and all(abs(one - close) <= Fraction(share) * close for one in (c.at, c.last))


def is_first_day_small(c: Seen) -> bool:
    cap = c.limits.first_day_notional_usd_max
    if cap is None:
        return True
    return c.account.is_first_day is False or (
        c.account.is_first_day is True and c.cost <= Fraction(cap)
    )


def is_volume_small(c: Seen) -> bool:
    share = c.limits.volume_share_max
    return share is None or c.entry.quantity <= c.symbol.day_volume * Fraction(share)


def is_repeat_rare(c: Seen) -> bool:
    rare = Fraction(c.symbol.repeat_age_s) >= c.limit("repeat_s_min")
    return rare and c.symbol.entries_last_min < c.limits.entries_per_symbol_min_max


ORACLE: dict[str, Callable[[Seen], bool]] = {
    "inputs": are_inputs_sound,
    "link": lambda c: c.account.link is LinkState.CLEAN,
    "mode": lambda c: c.account.account_agrees is True and c.account.is_halted is False,
    "currency": lambda c: c.account.currency == "USD",
    "kill_switch": lambda c: c.account.is_killed is False,
    "audit": lambda c: c.account.audit_is_up is True,
    "idempotency": lambda c: (
        c.symbol.plan_position == 0
        and c.symbol.has_live_entry is not None
        and c.entry.order_ref != c.stop.order_ref
        and not {c.entry.order_ref, c.stop.order_ref} & set(c.symbol.known_refs)
    ),
    "busy": lambda c: c.symbol.has_live_entry is False,
    "quarantine": lambda c: c.symbol.blocked == "" and c.symbol.unproven is not None,
    "unproven": lambda c: c.symbol.unproven == "",
    "conservation": is_a_pair,
    "fields": are_fields_sound,
    "freshness": lambda c: (
        c.symbol.price.quality is Quality.LIVE
        and c.last > 0
        and abs(Fraction(c.symbol.price.age_s)) <= c.limit("tick_age_s_max")
    ),
    "session": lambda c: c.account.session_is_open is True,
    "stop": is_protected,
    "size": lambda c: (
        c.entry.quantity <= c.limits.order_quantity_max
        and c.cost <= c.limit("order_notional_usd_max")
    ),
    "position": is_position_small,
    "collar": is_inside_the_collar,
    "close": is_near_the_last_close,
    "halt": lambda c: c.symbol.is_halted is False,
    "spread": lambda c: Fraction(c.symbol.spread_share) <= c.limit("spread_share_max"),
    "rate": lambda c: c.account.entry_tokens >= 2,
    "loss": is_loss_bearable,
    "rejects": lambda c: (
        c.account.rejects < c.limits.rejects_max
        and c.symbol.rejects < c.limits.rejects_per_symbol_max
    ),
    "self_trade": lambda c: c.symbol.opposing_orders == 0,
    "short": lambda c: (
        c.account.short_is_allowed is True
        or (c.account.short_is_allowed is False and c.entry.side is Side.BUY)
    ),
    "clock": lambda c: c.of("clock_skew_s") <= c.limit("clock_skew_s_max"),
    "drawdown": lambda c: (
        c.of("peak_usd") > 0
        and c.of("peak_usd") - c.of("net_liquidation_usd")
        <= c.limit("drawdown_nlv_share_max") * c.of("peak_usd")
    ),
    "stops_in_row": lambda c: c.account.stops_in_row < c.limits.stops_in_row_max,
    "margin": is_margin_there,
    "first_day": is_first_day_small,
    "volume": is_volume_small,
    "ex_date": lambda c: c.symbol.ex_date == "",
    "repeat": is_repeat_rare,
}


def objections(case: Case) -> set[str]:
    """Return the checks that a case breaks; what cannot be computed is broken."""
    seen, found = Seen(case), set()
    for name, holds in ORACLE.items():
        try:
            is_fine = holds(seen)
        except (TypeError, ValueError, ArithmeticError, AttributeError):
            is_fine = False
        if not is_fine:
            found.add(name)
    return found


def verdict_on(case: Case) -> Approved | Denied:
    return approve_entry(case.proposal, case.account, case.symbol, case.limits)


def judge(case: Case) -> None:
    """Object to a verdict that the oracle does not share, and to one that is none."""
    verdict, broken = verdict_on(case), objections(case)
    assert isinstance(verdict, Approved) is (not broken), (verdict, broken)
    if isinstance(verdict, Denied):
        assert verdict.check in broken, (verdict, broken)


@settings(max_examples=1_000, deadline=None)
@given(cases())
def test_approved_exactly_where_no_limit_is_broken(case):
    judge(case)


@pytest.fixture(scope="module")
def corpus():
    """Cases around each figure alone, always the same, each with what the oracle objects to."""
    found: list[tuple[Case, frozenset[str]]] = []

    for name in NAMES:

        @settings(
            max_examples=50,
            deadline=None,
            derandomize=True,
            database=None,
            phases=(Phase.generate,),
            suppress_health_check=list(HealthCheck),
        )
        @given(cases([name], 1))
        def collect(case: Case) -> None:
            found.append((case, frozenset(objections(case))))

        collect()
    return found


@pytest.mark.parametrize("name", ORACLE)
def test_each_check_is_the_only_one_broken_in_some_case(name, corpus):
    """What is drawn reaches every limit alone, so that none hides behind another."""
    alone = [case for case, broken in corpus if broken == {name}]
    assert alone
    assert {verdict_on(case).check for case in alone} == {name}


def test_what_is_drawn_is_often_approved(corpus):
    approved = [case for case, _ in corpus if isinstance(verdict_on(case), Approved)]
    assert len(approved) > len(corpus) / 10


def judge_all(corpus):
    for case, _ in corpus:
        judge(case)


@pytest.mark.parametrize("gone", ENTRY_CHECKS, ids=lambda check: check.__name__)
def test_a_gate_without_one_of_its_checks_approves_what_breaks_a_limit(gone, corpus, monkeypatch):
    left = tuple(check for check in ENTRY_CHECKS if check is not gone)
    monkeypatch.setattr(order_gate, "ENTRY_CHECKS", left)
    with pytest.raises((AssertionError, ArithmeticError)):
        judge_all(corpus)
