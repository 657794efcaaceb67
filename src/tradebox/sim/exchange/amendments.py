"""What changes books after the fact: corrected and busted executions, splits and dividends.

Rules of this file:
- nothing is rewritten: an amendment is a new row that names what it amends;
- a correction repeats the execution's id with the next revision; a bust is one of 0 shares;
- cash + cost of positions = deposits + realised profit holds afterwards too.
"""

from dataclasses import replace

from tradebox.sim.exchange.accounts import Account
from tradebox.sim.exchange.book import Book
from tradebox.sim.exchange.orders import Execution, Side


def latest_revision(book: Book, exec_id: str) -> Execution | None:
    """Return the newest revision of an execution, or None if there is none."""
    stem = exec_id.rpartition(".")[0]
    found = [one for one in book.executions if one.exec_id.rpartition(".")[0] == stem]
    return found[-1] if found else None


def corrected(old: Execution, shares: int, price_micros: int) -> Execution:
    """Return the next revision of an execution. Units: shares, micros."""
    stem, _, revision = old.exec_id.rpartition(".")
    before = old.cum_notional_micros - old.shares * old.price_micros
    return replace(
        old,
        exec_id=f"{stem}.{int(revision) + 1:02d}",
        shares=shares,
        price_micros=price_micros,
        cum_quantity=old.cum_quantity - old.shares + shares,
        cum_notional_micros=before + shares * price_micros,
        commission_micros=old.commission_micros if shares else 0,
        realized_micros=None,
    )


def amend(book: Book, old: Execution, new: Execution) -> None:
    """Book a correction: take the old execution back and apply the new one."""
    opposite = Side.SELL if old.side is Side.BUY else Side.BUY
    book.account.apply(replace(old, side=opposite, commission_micros=-old.commission_micros))
    book.account.apply(new)
    book.executions.append(new)
    order = book.orders[old.perm_id]
    order.filled += new.shares - old.shares
    order.notional_micros += new.shares * new.price_micros - old.shares * old.price_micros
    order.commission_micros += new.commission_micros - old.commission_micros


def split_position(account: Account, symbol: str, numerator: int, denominator: int) -> None:
    """Turn a position into new shares; a fraction of a share is lost, its cost is not."""
    position = account.positions.get(symbol)
    if position is None or not position.quantity:
        return
    shares = abs(position.quantity) * numerator // denominator
    position.quantity = shares if position.quantity > 0 else -shares


def pay_dividend(account: Account, symbol: str, amount_micros: int) -> None:
    """Pay a dividend on what is held; a short position owes it. Units: micros a share."""
    paid = account.quantity(symbol) * amount_micros
    account.cash_micros += paid
    account.realized_micros += paid
