"""Orders by template are byte for byte what the library writes, whatever came before."""

from dataclasses import replace
from decimal import Decimal

import hypothesis.strategies as st
import pytest
from hypothesis import given

from tradebox.adapters.ibkr import wire
from tradebox.adapters.ibkr.orders import templates
from tradebox.adapters.ibkr.orders.sliced_client import SlicedClient
from tradebox.adapters.ibkr.orders.templates import TicketTexts
from tradebox.domain.market import Instrument
from tradebox.domain.orders import AccountName, OrderIntent, OrderRole, OrderType, Side, Tif
from tradebox.ports.orders import OrderTicket

WORDS = st.text("ABCXYZ.-@129", max_size=12)
INCREMENTS = st.sampled_from([Decimal("0.01"), Decimal("0.0001"), Decimal("0.005"), Decimal(1)])


class Wrapper:
    def setEventsDone(self):  # noqa: N802 - the library's name
        pass

    connectionClosed = setEventsDone  # noqa: N815 - the library's name


def ready_client() -> SlicedClient:
    client = SlicedClient(Wrapper())
    client._serverVersion, client._apiReady, client.connState = 178, True, client.CONNECTED
    return client


CLIENT = ready_client()
TEXTS = TicketTexts(CLIENT.encoded)


@st.composite
def tickets(draw) -> OrderTicket:
    increment, symbol = draw(INCREMENTS), draw(WORDS)
    con_id = draw(st.integers(0, 2**31 - 2))
    instrument = Instrument(symbol, con_id, draw(WORDS), draw(WORDS), increment, "a name")
    kind, side, tif = draw(st.tuples(*map(st.sampled_from, (OrderType, Side, Tif))))
    price = draw(st.integers(1, 10**7)) * increment
    limit = price if kind is OrderType.LIMIT else None
    stop = price if kind is OrderType.STOP else None
    quantity, outside = draw(st.integers(1, 10**6)), draw(st.booleans())
    intent = OrderIntent(
        draw(WORDS), "p1", AccountName.PAPER, symbol, con_id, OrderRole.ENTRY, side, quantity, kind,
        tif, limit_price=limit, stop_price=stop, outside_rth=outside,
    )  # fmt: skip
    ids = st.integers(0, 2**31 - 2)
    return OrderTicket(
        draw(ids), intent, draw(WORDS), instrument, quantity, kind, tif, limit, stop, draw(ids),
        draw(st.booleans()),
    )  # fmt: skip


def by_library(ticket: OrderTicket) -> str:
    contract, order = wire.contract_of(ticket.instrument), wire.order_of(ticket)
    return CLIENT.encoded(ticket.order_id, contract, order)


@given(tickets())
def test_a_message_by_template_is_the_library_s(ticket):
    assert TEXTS.of(ticket) == by_library(ticket)


@given(tickets(), tickets())
def test_what_no_order_may_be_is_refused_by_a_known_shape_too(first, second):
    texts = TicketTexts(CLIENT.encoded)
    texts.of(first)
    increment = first.instrument.increment
    for bad in (
        replace(first, quantity=0),
        replace(first, limit_price=first.limit_price and first.limit_price + increment / 2),
        replace(first, stop_price=first.stop_price and first.stop_price + increment / 2),
    ):
        if bad != first:
            with pytest.raises(AssertionError):
                texts.of(bad)
    assert texts.of(second) == by_library(second)


@pytest.mark.parametrize("name", templates._MARKS)
def test_a_mark_that_is_not_where_it_should_be_is_an_error(name):
    """A library that writes a field twice, or not at all, is not guessed at."""
    kind = OrderType.STOP if name == "stop_price" else OrderType.LIMIT
    limit, stop = (None, Decimal(95)) if name == "stop_price" else (Decimal(95), None)
    instrument = Instrument("AAPL", 265598, "NASDAQ", "USD", Decimal("0.01"), "APPLE INC")
    intent = OrderIntent(
        "ref", "p1", AccountName.PAPER, "AAPL", 265598, OrderRole.EXIT, Side.SELL, 10, kind,
        Tif.DAY, limit_price=limit, stop_price=stop,
    )  # fmt: skip
    ticket = OrderTicket(7, intent, "SIM1", instrument, 10, kind, Tif.DAY, limit, stop, 0, True)
    mark = templates._MARKS[name]
    for bent in (lambda text: text.replace(mark, ""), lambda text: f"{text}{mark}\0"):
        texts = TicketTexts(lambda *args, bent=bent: bent(CLIENT.encoded(*args)))
        with pytest.raises(AssertionError, match=name):
            texts.of(ticket)
