"""What holds whatever clients and the market do."""

from hypothesis import given, settings
from hypothesis import strategies as st

from support.exchange_bench import Bench, ticket
from tradebox.sim.exchange.market_port import MICROS
from tradebox.sim.exchange.orders import OrderExecuted, OrderStatusChanged, Status

PRICES = st.sampled_from([98.0, 99.0, 99.5, 99.99, 100.0, 100.01, 100.5, 101.0, 102.0])
ACTIONS = st.one_of(
    st.tuples(
        st.just("submit"),
        st.integers(1, 8),
        st.sampled_from(["BUY", "SELL"]),
        st.integers(0, 300),
        st.sampled_from(["MKT", "LMT", "STP", "STP LMT"]),
        PRICES,
        st.sampled_from(["DAY", "GTC", "IOC"]),
        st.integers(0, 3),
        st.booleans(),
        st.sampled_from(["", "g"]),
    ),
    st.tuples(st.just("cancel"), st.integers(1, 8)),
    st.tuples(st.just("print"), PRICES, st.integers(1, 400)),
    st.tuples(st.just("quote"), PRICES, st.integers(1, 300)),
    st.tuples(st.just("wait"), st.integers(1, 3 * 3_600_000)),
)
SCRIPTS = st.lists(ACTIONS, max_size=25)
SETTINGS = {
    "child_on_partial_parent": st.sampled_from(["held", "armed_full", "armed_part"]),
    "child_on_parent_cancel": st.sampled_from(["dies", "shrinks", "arms"]),
    "oca_for_single_child": st.booleans(),
}


def play(bench, script):
    for action, *values in script:
        if action == "submit":
            number, side, quantity, kind, price, tif, parent, transmit, group = values
            wanted = ticket(
                side,
                quantity,
                kind,
                limit=price if kind in ("LMT", "STP LMT") else 0.0,
                trigger=price if kind in ("STP", "STP LMT") else 0.0,
                tif=tif,
                parent_id=parent if parent < number else 0,
                transmit=transmit,
                oca_group=group,
                oca_type=1 + number % 3 if group else 0,
            )
            bench.exchange.submit("paper", 7, number, wanted, bench.market.tick())
        elif action == "cancel":
            bench.cancel(values[0])
        elif action == "print":
            bench.market.print_trade(*values)
        elif action == "quote":
            bench.market.show(values[0], values[0] + 0.02, size=values[1])
        else:
            bench.exchange.on_time(bench.market.tick(values[0]))


def limit_holds(order, execution):
    limit = order.ticket.limit_micros
    if not limit:
        return True
    return (limit - execution.price_micros) * order.ticket.side.sign >= 0


@settings(deadline=None, max_examples=120)
@given(SCRIPTS, st.fixed_dictionaries(SETTINGS))
def test_books_balance_and_no_order_outgrows_itself(script, variants):
    bench = Bench(**variants)
    play(bench, script)
    book = bench.exchange._books["paper"]
    account = book.account
    cost = sum(position.cost_micros for position in account.positions.values())
    assert account.cash_micros + cost == 100_000 * MICROS + account.realized_micros
    held = sum(e.shares * e.side.sign for e in book.executions)
    assert bench.position() == held
    for order in book.orders.values():
        fills = [e.shares for e in book.executions if e.perm_id == order.perm_id]
        assert order.filled == sum(fills) <= max(order.total, order.filled)
        assert order.remaining == max(order.total - order.filled, 0)
        assert (order.status is Status.FILLED) == (order.remaining == 0 and order.filled > 0) or (
            order.status is Status.CANCELLED
        )
        assert (order in book.live("AAPL")) is not order.status.is_done
        if order.is_waiting:
            assert order.filled == 0
    bench.close()


@settings(deadline=None, max_examples=80)
@given(SCRIPTS)
def test_no_fill_is_beyond_its_limit_and_done_orders_stay_done(script):
    bench = Bench()
    done = {}

    def watch(events):
        for event in events:
            if isinstance(event, OrderExecuted):
                order = bench.order(event.execution.order_id)
                assert limit_holds(order, event.execution)
                assert event.execution.perm_id not in done
            if isinstance(event, OrderStatusChanged):
                order = event.order
                assert done.get(order.perm_id, order.status) is order.status
                if order.status.is_done:
                    done[order.perm_id] = order.status

    detach = bench.exchange.attach("paper", watch)
    play(bench, script)
    detach()
    bench.close()


@settings(deadline=None, max_examples=60)
@given(SCRIPTS, SCRIPTS)
def test_a_restart_in_the_middle_changes_nothing_that_was_committed(tmp_path_factory, one, two):
    path = tmp_path_factory.mktemp("ledger") / "ledger.jsonl"
    first = Bench(path)
    play(first, one)
    first.close()
    second = Bench(path, market=first.market)
    before, after = first.exchange._books["paper"], second.exchange._books["paper"]
    assert (before.orders, before.executions, before.highest_ids, before.account) == (
        after.orders,
        after.executions,
        after.highest_ids,
        after.account,
    )
    play(second, two)
    second.close()


@settings(deadline=None, max_examples=40)
@given(SCRIPTS, st.integers(0, 3))
def test_the_same_seed_and_script_give_the_same_digest(script, seed):
    digests = []
    for _ in range(2):
        bench = Bench(seed=seed, repeat_status_ppm=300_000)
        play(bench, script)
        digests.append((bench.exchange.ledger_digest(), len(bench.events)))
        bench.close()
    assert digests[0] == digests[1]
