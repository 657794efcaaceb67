"""An exchange over a scripted market, driven by short commands."""

import itertools
from pathlib import Path

from support.scripted_market import ScriptedMarket, micros
from tradebox.sim.exchange.accounts import AccountSpec
from tradebox.sim.exchange.engine import Exchange
from tradebox.sim.exchange.ledger import Ledger
from tradebox.sim.exchange.orders import (
    Order,
    OrderError,
    OrderStatusChanged,
    OrderType,
    Side,
    Ticket,
    Tif,
)
from tradebox.sim.exchange.settings import ExchangeSettings

ACCOUNTS = (
    AccountSpec("paper", "SIM1234567P", 100_000),
    AccountSpec("live", "SIM1234567L", 100_000),
)
CLIENT = 7
_CON_IDS = {"AAPL": 265598, "MSFT": 272093, "BRK": 72063691}


def ticket(
    side="BUY", quantity=100, kind="MKT", limit=0.0, trigger=0.0, symbol="AAPL", **fields
) -> Ticket:
    tif = Tif(fields.pop("tif", "DAY"))
    return Ticket(
        symbol=symbol,
        con_id=_CON_IDS.get(symbol, 0),
        side=Side(side),
        quantity=quantity,
        order_type=OrderType(kind),
        limit_micros=micros(limit),
        trigger_micros=micros(trigger),
        tif=tif,
        **fields,
    )


class Bench:
    """One exchange; `events` keeps everything it said about the paper account."""

    def __init__(self, path: Path | None = None, *, market=None, seed=1, **settings) -> None:
        self.market = market or ScriptedMarket()
        if market is None:
            self.market.show(99.99, 100.01, last=100.0)
        settings.setdefault("repeat_status_ppm", 0)
        self.ledger = Ledger(path, itertools.count().__next__)
        self.exchange = Exchange(
            self.market, ACCOUNTS, self.ledger, seed, ExchangeSettings(**settings)
        )
        self.exchange.open()
        self.events = []
        self.exchange.attach("paper", self.events.extend)

    def submit(self, order_id, *, client=CLIENT, account="paper", **fields):
        """Submit and return the order as it is then, or None."""
        self.exchange.submit(account, client, order_id, ticket(**fields), self.market.tick())
        return self.order(order_id, client=client, account=account)

    def bracket(self, quantity=100, limit=99.5, stop=98.0):
        self.submit(1, kind="LMT", limit=limit, quantity=quantity, transmit=False)
        self.submit(
            2, side="SELL", kind="STP", trigger=stop, quantity=quantity, tif="GTC", parent_id=1
        )
        return self.order(1), self.order(2)

    def cancel(self, order_id, *, client=CLIENT):
        return self.exchange.cancel("paper", client, order_id, self.market.tick())

    def order(self, order_id, *, client=CLIENT, account="paper") -> Order | None:
        """Return the order's own record, live or done."""
        return self.exchange._books[account].find(client, order_id)

    def position(self, symbol="AAPL", account="paper") -> int:
        position = self.exchange.positions(account).get(symbol)
        return position.quantity if position else 0

    def codes(self, order_id=None) -> list[int]:
        return [
            event.code
            for event in self.events
            if isinstance(event, OrderError) and order_id in (None, event.order_id)
        ]

    def statuses(self, order_id) -> list[tuple[str, str]]:
        return [
            (event.order.status.value, event.order.why_held)
            for event in self.events
            if isinstance(event, OrderStatusChanged) and event.order.order_id == order_id
        ]

    def close(self) -> None:
        self.exchange.close()
