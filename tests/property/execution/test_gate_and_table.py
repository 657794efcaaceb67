"""The order table and the order gate: never a step that the facts or the limits forbid."""

import itertools
from dataclasses import fields, replace
from decimal import Decimal

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from support.gate_world import ACCOUNT, LIMITS, SYMBOL
from tradebox.domain import order_gate, order_table
from tradebox.domain.gate_checks import ENTRY_CHECKS
from tradebox.domain.gate_values import (
    AccountView,
    EntryProposal,
    PriceView,
    ReduceView,
    StopChange,
    SymbolView,
)
from tradebox.domain.market import Quality
from tradebox.domain.order_gate import (
    Approved,
    approve_change,
    approve_entry,
    approve_reduction,
)
from tradebox.domain.order_table import LIVE, MOVES, TERMINAL, Move, is_legal, next_state
from tradebox.domain.orders import (
    AccountName,
    Denied,
    OrderIntent,
    OrderRole,
    OrderState,
    OrderType,
    Side,
    Tif,
)
from tradebox.domain.path import LinkState
from tradebox.domain.plan_facts import PASSING_CHECKS, UNKNOWN
from tradebox.execution.buckets import Bucket

EVIDENCE = frozenset(Move) - {Move.LOST, Move.ABSENT, Move.NOT_SENT, Move.COMMITTED}


def walk_every_short_life():
    """Take orders through every three moves after their commit; a fill ends each of them."""
    for moves in itertools.product(Move, repeat=3):
        state = walk([Move.COMMITTED, *moves])
        assert next_state(state, Move.ALL_FILLED) is OrderState.FILLED


def test_every_short_life_is_sound():
    walk_every_short_life()


TABLE_MUTANTS = {
    "a late fill is dropped": (OrderState.CANCELLED, Move.ALL_FILLED, None),
    "a cancel undoes a fill": (OrderState.FILLED, Move.CANCELLED, OrderState.CANCELLED),
    "silence ends an unknown": (OrderState.SENT_UNKNOWN, Move.LOST, OrderState.NEVER_SENT),
    "absence wakes the dead": (OrderState.REJECTED, Move.ABSENT, OrderState.WORKING),
    "a live order is lost": (OrderState.WORKING, Move.LOST, OrderState.NEVER_SENT),
}


@pytest.mark.parametrize("name", TABLE_MUTANTS)
def test_a_mutant_of_the_table_is_noticed(name, monkeypatch):
    state, move, following = TABLE_MUTANTS[name]
    moves = {**MOVES, state: {**MOVES[state], move: following}}
    monkeypatch.setattr(order_table, "MOVES", moves)
    with pytest.raises(AssertionError):
        walk_every_short_life()


@given(st.lists(st.sampled_from(Move), max_size=30))
def test_no_order_of_facts_undoes_a_fill_or_wakes_the_dead_by_silence(moves):
    walk(moves)


def walk(moves):
    """Take an order through moves and object to what no facts can justify."""
    state = OrderState.RECORDED
    for move in moves:
        after = next_state(state, move)
        if state is OrderState.FILLED and move is not Move.COPY_LIVES:
            assert after is OrderState.FILLED
        if state is OrderState.SENT_UNKNOWN and after is not state:
            assert move in EVIDENCE | {Move.ABSENT}
        if state in TERMINAL and after in LIVE:
            assert move in EVIDENCE
            was_wrong = state in (OrderState.REJECTED, OrderState.NEVER_SENT)
            assert was_wrong or move is Move.COPY_LIVES
        if move is Move.LOST:
            assert after in (state, OrderState.SENT_UNKNOWN)
        if not is_legal(state, move):
            assert after is state
        state = after
    return state


def test_a_fill_after_a_cancel_is_legal_and_every_state_has_a_row():
    assert next_state(OrderState.CANCELLED, Move.ALL_FILLED) is OrderState.FILLED
    assert set(MOVES) == set(OrderState)
    for state in set(OrderState) - {OrderState.RECORDED}:
        assert next_state(state, Move.ALL_FILLED) is OrderState.FILLED


def intent(role=OrderRole.ENTRY, side=Side.BUY, quantity=100, kind=OrderType.LIMIT, **values):
    base = OrderIntent(
        f"ref-{role}", "p1", AccountName.PAPER, "AAPL", 1, role, side, quantity, kind, Tif.DAY
    )
    return replace(base, **values)


def pair(side=Side.BUY, quantity=100, limit="100", stop="95", **values):
    entry = intent(side=side, quantity=quantity, limit_price=Decimal(limit), **values)
    protective = intent(
        OrderRole.STOP,
        side.opposite,
        quantity,
        OrderType.STOP,
        tif=Tif.GTC,
        stop_price=Decimal(stop),
        parent_ref=entry.order_ref,
    )
    return EntryProposal(entry, protective)


@pytest.mark.parametrize("name", ["day_volume", "last_close", "ex_date"])
def test_a_storm_is_told_by_its_rate_whatever_is_not_read_yet(name):
    """The latch counts refusals for the rate: what is read beside must not hide them."""
    stormy = replace(ACCOUNT, entry_tokens=0)
    verdict = approve_entry(pair(), stormy, replace(SYMBOL, **{name: None}), LIMITS)
    assert isinstance(verdict, Denied)
    assert verdict.check == "rate"


def test_a_sound_entry_is_approved_with_its_stop():
    verdict = approve_entry(pair(), ACCOUNT, SYMBOL, LIMITS)
    assert isinstance(verdict, Approved)
    assert [order.role for order in verdict.orders] == [OrderRole.ENTRY, OrderRole.STOP]


def test_nobody_else_mints_an_approval():
    with pytest.raises(AssertionError):
        Approved(object(), (), None)


def waits(verdict):
    """A refusal that the plan waits out, because it may be known later."""
    assert isinstance(verdict, Denied)
    return verdict.check in PASSING_CHECKS or verdict.observed == UNKNOWN


@pytest.mark.parametrize("name", [f.name for f in fields(AccountView) if f.name != "reduce_tokens"])
def test_an_unknown_account_figure_denies_an_entry(name):
    unknown = replace(ACCOUNT, **{name: None})
    assert waits(approve_entry(pair(), unknown, SYMBOL, LIMITS))


@pytest.mark.parametrize("name", [f.name for f in fields(SymbolView)])
def test_an_unknown_symbol_figure_denies_an_entry(name):
    unknown = replace(SYMBOL, **{name: None})
    assert waits(approve_entry(pair(), ACCOUNT, unknown, LIMITS))


def price(value="100", quality=Quality.LIVE, age="1"):
    return PriceView(Decimal(value), quality, Decimal(age))


CASES = [
    ("mode", {}, {"account_agrees": False}, {}),
    ("mode", {}, {"is_halted": True}, {}),
    ("link", {}, {"link": LinkState.WINDOW}, {}),
    ("link", {}, {"link": LinkState.SYNCING}, {}),
    ("link", {}, {"link": LinkState.BLIND}, {}),
    ("kill_switch", {}, {"is_killed": True}, {}),
    ("audit", {}, {"audit_is_up": False}, {}),
    ("idempotency", {"order_ref": "used"}, {}, {}),
    ("busy", {}, {}, {"has_live_entry": True}),
    ("idempotency", {}, {}, {"plan_position": 5}),
    ("quarantine", {}, {}, {"blocked": "external order"}),
    ("unproven", {}, {}, {"unproven": "unknown order x"}),
    ("fields", {"limit": "100.005"}, {}, {}),
    ("fields", {"limit": "NaN"}, {}, {}),
    ("fields", {"limit": "-1"}, {}, {}),
    ("fields", {"quantity": 0}, {}, {}),
    ("fields", {"order_ref": "a:b"}, {}, {}),
    ("freshness", {}, {}, {"price": price(quality=Quality.SUSPECT)}),
    ("freshness", {}, {}, {"price": price(age="16")}),
    ("freshness", {}, {}, {"price": price(age="-16")}),
    ("freshness", {}, {}, {"price": price("0")}),
    ("inputs", {}, {}, {"price": price("NaN")}),
    ("inputs", {}, {"net_liquidation_usd": Decimal("Infinity")}, {}),
    ("session", {}, {"session_is_open": False}, {}),
    ("stop", {"stop": "100"}, {}, {}),
    ("stop", {"stop": "101"}, {}, {}),
    ("stop", {"stop": "60"}, {}, {}),
    ("size", {"quantity": 501}, {}, {}),
    ("size", {"quantity": 401}, {}, {}),
    ("position", {}, {}, {"position": -1}),
    ("position", {"quantity": 300}, {}, {"position": 300}),
    ("position", {}, {"gross_notional_usd": Decimal(89_000)}, {}),
    ("collar", {"limit": "106", "stop": "99"}, {}, {}),
    ("rate", {}, {"entry_tokens": 1}, {}),
    ("loss", {}, {"net_liquidation_usd": Decimal(96_000)}, {}),
    ("loss", {}, {"open_risk_usd": Decimal(4_900)}, {}),
    ("rejects", {}, {"rejects": 5}, {}),
    ("rejects", {}, {}, {"rejects": 3}),
    ("self_trade", {}, {}, {"opposing_orders": 1}),
    ("short", {"side": Side.SELL, "stop": "105"}, {"short_is_allowed": False}, {}),
    ("conservation", {"plan_id": "p2"}, {}, {}),
    ("clock", {}, {"clock_skew_s": Decimal("2.5")}, {}),
    ("drawdown", {}, {"peak_usd": Decimal(112_000)}, {}),
    ("stops_in_row", {}, {"stops_in_row": 8}, {}),
    ("margin", {}, {"available_usd": Decimal(4_999)}, {}),
    ("margin", {}, {"available_usd": Decimal(7_999)}, {"margin_share": Decimal("0.8")}),
    ("first_day", {}, {"is_first_day": True}, {}),
    ("currency", {}, {"currency": "EUR"}, {}),
    ("volume", {}, {}, {"day_volume": 4_999}),
    ("ex_date", {}, {}, {"ex_date": "split 2:1 on 2026-01-05"}),
    ("repeat", {}, {}, {"repeat_age_s": Decimal("0.9")}),
    ("repeat", {}, {}, {"entries_last_min": 20}),
    ("inputs", {}, {"peak_usd": Decimal("NaN")}, {}),
    ("spread", {}, {}, {"spread_share": Decimal("0.03")}),
    ("close", {}, {}, {"last_close": Decimal("76.90")}),
    ("close", {}, {}, {"last_close": Decimal("142.90")}),
    ("close", {}, {}, {"last_close": Decimal(0)}),
    ("inputs", {}, {}, {"last_close": Decimal("NaN")}),
    ("halt", {}, {}, {"is_halted": True}),
]


def verdict_on(proposal, account, symbol):
    return approve_entry(
        pair(**proposal), replace(ACCOUNT, **account), replace(SYMBOL, **symbol), LIMITS
    )


@pytest.mark.parametrize(("check", "proposal", "account", "symbol"), CASES)
def test_each_check_refuses_by_its_name(check, proposal, account, symbol):
    verdict = verdict_on(proposal, account, symbol)
    assert isinstance(verdict, Denied)
    assert verdict.check == check


@pytest.mark.parametrize("gone", ENTRY_CHECKS, ids=lambda check: check.__name__)
def test_a_gate_without_one_of_its_checks_is_noticed(gone, monkeypatch):
    left = tuple(check for check in ENTRY_CHECKS if check is not gone)
    monkeypatch.setattr(order_gate, "ENTRY_CHECKS", left)
    wrong = []
    for check, *inputs in CASES:
        try:
            verdict = verdict_on(*inputs)
        except ArithmeticError:
            wrong.append(check)
        else:
            wrong += [check] if getattr(verdict, "check", "") != check else []
    assert wrong


def test_a_stop_that_is_not_full_size_or_not_its_pair_is_refused():
    sound = pair()
    small = replace(sound, stop=replace(sound.stop, quantity=99))
    other = replace(sound, stop=replace(sound.stop, parent_ref="another"))
    same = replace(sound, stop=replace(sound.stop, side=Side.BUY))
    for proposal in (small, other, same):
        verdict = approve_entry(proposal, ACCOUNT, SYMBOL, LIMITS)
        assert isinstance(verdict, Denied)
        assert verdict.check == "conservation"


cents = st.integers(1, 30_000).map(lambda n: Decimal(n) / 100)


@settings(max_examples=300)
@given(
    side=st.sampled_from(Side),
    quantity=st.integers(-5, 800),
    limit=cents,
    stop=cents,
    last=cents,
    position=st.integers(-600, 600),
    gross=st.integers(0, 100_000).map(Decimal),
    nlv=st.integers(1, 200_000).map(Decimal),
    risk=st.integers(0, 6_000).map(Decimal),
)
def test_what_is_approved_breaks_no_limit(
    *, side, quantity, limit, stop, last, position, gross, nlv, risk
):
    account = replace(
        ACCOUNT, gross_notional_usd=gross, net_liquidation_usd=nlv, open_risk_usd=risk
    )
    symbol = replace(SYMBOL, price=price(str(last)), position=position)
    proposal = pair(side, quantity, str(limit), str(stop))
    verdict = approve_entry(proposal, account, symbol, LIMITS)
    if isinstance(verdict, Denied):
        return
    worst = max(limit, last)
    assert 0 < quantity <= LIMITS.order_quantity_max
    assert quantity * worst <= LIMITS.order_notional_usd_max
    assert position * side.sign >= 0
    assert abs(position) * worst + quantity * worst <= LIMITS.position_notional_usd_max
    assert gross + quantity * worst <= LIMITS.gross_notional_usd_max
    assert (limit - stop) * side.sign > 0
    assert abs(limit - stop) / limit <= LIMITS.stop_distance_share_max
    assert (limit - last) * side.sign <= LIMITS.price_collar_share_max * last
    assert risk + abs(limit - stop) * quantity <= LIMITS.open_risk_nlv_share_max * nlv
    assert ACCOUNT.day_start_usd - nlv <= LIMITS.day_loss_nlv_share_max * ACCOUNT.day_start_usd


@given(
    held=st.integers(-100, 100),
    others=st.integers(0, 150),
    quantity=st.integers(-5, 150),
    side=st.sampled_from(Side),
    role=st.sampled_from([OrderRole.STOP, OrderRole.SLICE, OrderRole.EXIT]),
)
def test_a_reduction_never_exceeds_what_is_held(held, others, quantity, side, role):
    order = intent(role, side, quantity, tif=Tif.IOC, limit_price=Decimal(100))
    if role is OrderRole.STOP:
        order = replace(
            order,
            order_type=OrderType.STOP,
            tif=Tif.GTC,
            limit_price=None,
            stop_price=Decimal(95),
        )
    view = ReduceView(held, others)
    verdict = approve_reduction(order, ACCOUNT, SYMBOL, view, LIMITS)
    fits = held * side.sign < 0 and 0 < quantity <= abs(held) - others
    assert isinstance(verdict, Approved) is fits


def test_nothing_an_entry_did_keeps_an_exit_back():
    worst = replace(
        ACCOUNT,
        is_killed=True,
        is_halted=True,
        audit_is_up=False,
        net_liquidation_usd=None,
        entry_tokens=0,
        rejects=99,
        gross_notional_usd=None,
    )
    symbol = replace(SYMBOL, blocked="external", rejects=99, has_live_entry=None)
    order = intent(OrderRole.EXIT, Side.SELL, 10, tif=Tif.IOC, limit_price=Decimal(99))
    verdict = approve_reduction(order, worst, symbol, ReduceView(10, 0), LIMITS)
    assert isinstance(verdict, Approved)


@pytest.mark.parametrize("name", ["plan_position", "other_live_quantity"])
def test_an_unknown_position_denies_a_reduction(name):
    order = intent(OrderRole.EXIT, Side.SELL, 10, tif=Tif.IOC, limit_price=Decimal(99))
    view = replace(ReduceView(10, 0), **{name: None})
    assert isinstance(approve_reduction(order, ACCOUNT, SYMBOL, view, LIMITS), Denied)


@given(old=cents, new=cents, side=st.sampled_from(Side))
def test_a_stop_only_tightens(old, new, side):
    change = StopChange("r", "p1", "AAPL", side, 10, 0, new, old, "test")
    view = ReduceView(-10 * side.sign, 0)
    verdict = approve_change(change, ACCOUNT, SYMBOL, view)
    tightens = new >= old if side is Side.SELL else new <= old
    assert isinstance(verdict, Approved) is tightens


@given(st.lists(st.tuples(st.floats(0, 0.6), st.integers(0, 8)), max_size=60))
def test_a_bucket_gives_no_more_than_its_rate(asks):
    bucket, now_s, taken = Bucket(5, 1.0), 100.0, 0
    for wait_s, count in asks:
        now_s += wait_s
        granted = min(count, bucket.available(now_s))
        bucket.take(granted, now_s)
        taken += granted
    assert taken <= 5 + 5 * (now_s - 100.0) + 1e-6
