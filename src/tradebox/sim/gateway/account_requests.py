"""Requests about the account: positions, values, portfolio, summary, profit and loss.

Rules of this file:
- a first answer ends with its end marker; what follows are differences;
- money leaves with two decimals, average cost exactly, never empty.
"""

from datetime import UTC, datetime

from tradebox.sim.exchange.accounts import AccountFigures, Position
from tradebox.sim.exchange.market_port import SECOND_NS, Instrument
from tradebox.sim.gateway.order_messages import Fields
from tradebox.sim.gateway.session import Handler, Session
from tradebox.sim.gateway.wire import (
    UNSET_DOUBLE,
    FieldReader,
    average_text,
    money_text,
    price_text,
)

LEVERAGE = 2


def positions(session: Session, reader: FieldReader) -> None:
    """List the positions and follow them from now on."""
    reader.skip()
    session.positions_said = {}
    push_positions(session)
    session.send_end([62, 1])


def cancel_positions(session: Session, reader: FieldReader) -> None:
    """Follow the positions no more."""
    reader.skip()
    session.positions_said = None


def push_positions(session: Session) -> None:
    """Send the positions that are not what this client was told."""
    said = session.positions_said
    if said is None:
        return
    gateway = session.gateway
    for symbol, position in gateway.exchange.positions(gateway.account_name).items():
        now = (position.quantity, position.cost_micros if position.quantity else 0)
        if said.get(symbol, (0, 0)) == now:
            continue
        said[symbol] = now
        instrument = gateway.instrument(symbol)
        session.send(
            [
                61,
                3,
                gateway.account_id,
                *_position_contract(instrument, symbol),
                position.quantity,
                average_text(abs(position.cost_micros), abs(position.quantity)),
            ]
        )


def positions_multi(session: Session, reader: FieldReader) -> None:
    """List the positions of one account, once."""
    reader.skip()
    request_id = reader.integer()
    gateway = session.gateway
    for symbol, position in gateway.exchange.positions(gateway.account_name).items():
        if position.quantity:
            average = average_text(abs(position.cost_micros), abs(position.quantity))
            contract = _position_contract(gateway.instrument(symbol), symbol)
            head: Fields = [71, 1, request_id, gateway.account_id]
            session.send([*head, *contract, position.quantity, average, ""])
    session.send_end([72, 1, request_id])


def account_updates(session: Session, reader: FieldReader) -> None:
    """Send values and portfolio, and follow them while subscribed."""
    reader.skip()
    session.account_subscribed = reader.flag()
    if session.account_subscribed:
        push_account(session)
        session.send_end([54, 1, session.gateway.account_id])


def push_account(session: Session) -> None:
    """Send every account value and portfolio row to a subscriber."""
    if not session.account_subscribed:
        return
    gateway = session.gateway
    for tag, value, currency in account_values(gateway.account_id, _figures(session)):
        session.send([6, 2, tag, value, currency, gateway.account_id])
    for symbol, position in gateway.exchange.positions(gateway.account_name).items():
        session.send(_portfolio_row(session, symbol, position))
    moment = datetime.fromtimestamp(gateway.now_ns() // SECOND_NS, tz=UTC)
    session.send([8, 1, moment.strftime("%H:%M")])


def account_updates_multi(session: Session, reader: FieldReader) -> None:
    """Send the account values under a request id, and follow them."""
    reader.skip()
    request_id = reader.integer()
    session.tag_updates.add(request_id)
    push_multi(session, request_id)
    session.send_end([74, 1, request_id])


def cancel_updates_multi(session: Session, reader: FieldReader) -> None:
    """Follow the account values under this id no more."""
    reader.skip()
    session.tag_updates.discard(reader.integer())


def push_multi(session: Session, request_id: int) -> None:
    """Send the account values under a request id."""
    account_id = session.gateway.account_id
    for tag, value, currency in account_values(account_id, _figures(session)):
        session.send([73, 1, request_id, account_id, "", tag, value, currency])


def account_summary(session: Session, reader: FieldReader) -> None:
    """Send the wanted tags, and follow them."""
    reader.skip()
    request_id = reader.integer()
    reader.skip()
    tags = tuple(tag.strip() for tag in reader.text().split(",") if tag.strip())
    session.summaries[request_id] = tags
    push_summary(session, request_id)
    session.send_end([64, 1, request_id])


def cancel_summary(session: Session, reader: FieldReader) -> None:
    """Follow the summary no more."""
    reader.skip()
    session.summaries.pop(reader.integer(), None)


def push_summary(session: Session, request_id: int) -> None:
    """Send the tags of one summary subscription."""
    account_id = session.gateway.account_id
    wanted = session.summaries[request_id]
    for tag, value, currency in account_values(account_id, _figures(session)):
        is_plain = tag in wanted
        is_ledger = any(name.startswith("$LEDGER") for name in wanted)
        if is_plain or (is_ledger and currency == "USD"):
            session.send([63, 1, request_id, account_id, tag, value, currency])


def profit(session: Session, reader: FieldReader) -> None:
    """Follow the account's profit and loss."""
    request_id = reader.integer()
    session.profits[request_id] = ""
    push_profit(session, request_id)


def profit_single(session: Session, reader: FieldReader) -> None:
    """Follow one position's profit and loss."""
    request_id = reader.integer()
    reader.skip(2)
    instrument = session.gateway.instrument_by_id(reader.integer())
    if instrument is None:
        session.say_error(request_id, 321, "Error validating request: unknown contract id.")
        return
    session.profits[request_id] = instrument.symbol
    push_profit(session, request_id)


def cancel_profit(session: Session, reader: FieldReader) -> None:
    """Follow this profit and loss no more."""
    session.profits.pop(reader.integer(), None)


def push_profit(session: Session, request_id: int) -> None:
    """Send one profit and loss subscription's figures."""
    gateway = session.gateway
    symbol = session.profits[request_id]
    if not symbol:
        figures = _figures(session)
        amounts = (figures.daily_profit, figures.unrealized, figures.realized)
        session.send([94, request_id, *[price_text(amount) for amount in amounts]])
        return
    position = gateway.exchange.positions(gateway.account_name).get(symbol, Position())
    value = position.quantity * gateway.exchange.mark(symbol)
    unrealized = value - position.cost_micros
    single = (unrealized + position.realized_micros, unrealized, position.realized_micros, value)
    texts = [price_text(amount) if position.quantity else UNSET_DOUBLE for amount in single]
    session.send([95, request_id, position.quantity, *texts])


def managed_accounts(session: Session, reader: FieldReader) -> None:
    """Say the account again."""
    reader.skip()
    session.send([15, 1, session.gateway.account_id])


def user_info(session: Session, reader: FieldReader) -> None:
    """Say that there is no white branding."""
    session.send([107, reader.integer(), ""])


def account_values(account_id: str, figures: AccountFigures) -> list[tuple[str, str, str]]:
    """Return tag, value and currency of every account value."""
    available = figures.available
    excess = figures.net_liquidation - figures.maintenance_margin
    dollars = {
        "NetLiquidation": figures.net_liquidation,
        "TotalCashValue": figures.cash,
        "SettledCash": figures.cash,
        "AccruedCash": 0,
        "BuyingPower": max(available, 0) * LEVERAGE,
        "EquityWithLoanValue": figures.net_liquidation,
        "GrossPositionValue": figures.gross_position,
        "InitMarginReq": figures.initial_margin,
        "MaintMarginReq": figures.maintenance_margin,
        "FullInitMarginReq": figures.initial_margin,
        "FullMaintMarginReq": figures.maintenance_margin,
        "AvailableFunds": available,
        "FullAvailableFunds": available,
        "ExcessLiquidity": excess,
        "FullExcessLiquidity": excess,
        "CashBalance": figures.cash,
        "TotalCashBalance": figures.cash,
        "NetLiquidationByCurrency": figures.net_liquidation,
        "StockMarketValue": figures.net_liquidation - figures.cash,
        "UnrealizedPnL": figures.unrealized,
        "RealizedPnL": figures.realized,
    }
    rows = [("AccountCode", account_id, ""), ("AccountType", "INDIVIDUAL", "")]
    rows += [("AccountReady", "true", ""), ("Currency", "USD", "USD"), ("Cushion", "1", "")]
    rows += [(tag, money_text(amount), "USD") for tag, amount in dollars.items()]
    rows.append(("ExchangeRate", "1.00", "USD"))
    return rows


ACCOUNT_HANDLERS: dict[int, Handler] = {
    6: account_updates,
    17: managed_accounts,
    61: positions,
    62: account_summary,
    63: cancel_summary,
    64: cancel_positions,
    74: positions_multi,
    75: lambda _session, _reader: None,
    76: account_updates_multi,
    77: cancel_updates_multi,
    92: profit,
    93: cancel_profit,
    94: profit_single,
    95: cancel_profit,
    104: user_info,
}


def _figures(session: Session) -> AccountFigures:
    return session.gateway.exchange.figures(session.gateway.account_name)


def _position_contract(instrument: Instrument | None, symbol: str) -> Fields:
    con_id = instrument.con_id if instrument else 0
    currency = instrument.currency if instrument else "USD"
    exchange = instrument.primary_exchange if instrument else ""
    return [con_id, symbol, "STK", "", "0.0", "", "", exchange, currency, symbol, symbol]


def _portfolio_row(session: Session, symbol: str, position: Position) -> Fields:
    gateway = session.gateway
    instrument = gateway.instrument(symbol)
    mark = gateway.exchange.mark(symbol) or position.average_micros
    value = position.quantity * mark
    unrealized = value - position.cost_micros if position.quantity else 0
    contract = _position_contract(instrument, symbol)
    contract[5] = "0"
    return [
        7,
        8,
        *contract,
        position.quantity,
        price_text(mark),
        money_text(value),
        average_text(abs(position.cost_micros), abs(position.quantity)),
        money_text(unrealized),
        money_text(position.realized_micros),
        gateway.account_id,
    ]
