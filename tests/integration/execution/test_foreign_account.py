"""An account that is not kept in dollars: it takes no entry, says so once, and exits go on."""

import pytest

from support.order_world import MemorySpool, MemoryStore, OrderWorld, enter
from support.tws_bench import TwsBench
from tradebox.domain.events import AlertRaised
from tradebox.domain.orders import AccountName
from tradebox.domain.path import LinkState, RequestDenied
from tradebox.execution.account_day import AccountDay
from tradebox.ports.orders import AccountValueFact
from tradebox.sim.gateway import account_requests


def euros(account_id, figures, original=account_requests.account_values):
    """The gateway's rows of an account that is kept in euros, with a ledger in dollars beside."""
    rows = original(account_id, figures)
    foreign = [(tag, value, "EUR" if currency else "") for tag, value, currency in rows]
    ledger = ("TotalCashBalance", "RealizedPnL")
    return [
        *foreign,
        *((tag, value, "BASE") for tag, value, _ in rows if tag in ledger),
        ("TotalCashBalance", "77", "USD"),
    ]


@pytest.mark.asyncio
async def test_an_account_in_euros_enters_nothing_and_a_person_is_told_once(tmp_path, monkeypatch):
    monkeypatch.setattr(account_requests, "account_values", euros)
    bench = await TwsBench(None).start()
    world = OrderWorld(bench, MemoryStore(), MemorySpool(), tmp_path / "KILL")
    try:
        await world.start(connect=False)
        await world.link.connect()
        await world.until(lambda: world.link.state is LinkState.CLEAN, "a clean link")
        await world.until(lambda: world.path.account_state.currency, "its currency")
        await world.ask(enter())
        (denied,) = [event.denied for event in world.of(RequestDenied)]
        assert (denied.check, denied.limit, denied.observed) == ("currency", "USD", "EUR")
        assert "base currency" in denied.reason
        world.link.close("once more")
        await world.link.connect()
        await world.until(lambda: world.link.state is LinkState.CLEAN, "a clean link")
        told = [each for each in world.published if isinstance(each, AlertRaised)]
        assert [each.severity for each in told if each.kind == "account_currency"] == ["critical"]
        state = world.path.account_state
        assert (state.currency, state.net_liquidation_usd) == ("EUR", None)
    finally:
        await world.stop()
        await bench.stop()


@pytest.mark.parametrize(
    ("rows", "currency", "cash"),
    [
        ([("NetLiquidation", "USD"), ("TotalCashBalance", "BASE")], "USD", "5"),
        ([("NetLiquidation", "EUR"), ("TotalCashBalance", "BASE")], "EUR", "None"),
        ([("TotalCashBalance", "BASE")], None, "None"),
        ([("NetLiquidation", ""), ("TotalCashBalance", "USD")], None, "5"),
    ],
)
def test_what_is_in_the_base_currency_counts_where_that_is_dollars(rows, currency, cash):
    day = AccountDay(AccountName.PAPER, None, None, None)
    for tag, its_currency in rows:
        day.take(AccountValueFact("DU1", tag, "5", its_currency))
    assert (day.currency, str(day.cash)) == (currency, cash)
