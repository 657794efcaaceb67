"""Cash, positions and profit of one account: a fold over executions.

Rules of this file:
- everything is an integer: micros of a dollar and whole shares;
- a position's cost holds its commissions, as the broker's average cost does;
- nothing here knows orders; the engine applies executions in order.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from tradebox.sim.exchange.orders import Execution, Side

PPM = 1_000_000


@dataclass(slots=True)
class Position:
    """Shares held (negative: short) and what they cost. Units: shares, micros."""

    quantity: int = 0
    cost_micros: int = 0
    realized_micros: int = 0

    @property
    def average_micros(self) -> int:
        """Return the average cost per share, commissions included; 0 when flat."""
        return abs(self.cost_micros) // abs(self.quantity) if self.quantity else 0


@dataclass(frozen=True, slots=True)
class AccountSpec:
    """One account as the runner gives it."""

    name: str
    account_id: str
    cash_usd: int


@dataclass(frozen=True, slots=True)
class AccountFigures:
    """The account's figures at one moment; `realized` is of the trading day. Units: micros."""

    cash: int
    gross_position: int
    net_liquidation: int
    unrealized: int
    realized: int
    initial_margin: int
    maintenance_margin: int
    daily_profit: int

    @property
    def available(self) -> int:
        """Return the funds free for new positions."""
        return self.net_liquidation - self.initial_margin


@dataclass(slots=True)
class Account:
    """One account's books.

    Holds: cash + cost of positions = deposits + realised profit, to the micro.
    """

    name: str
    account_id: str
    deposited_micros: int
    cash_micros: int
    realized_micros: int = 0
    positions: dict[str, Position] = field(default_factory=dict)
    day: str = ""
    day_start_micros: int = 0
    day_start_realized_micros: int = 0

    def quantity(self, symbol: str) -> int:
        """Return the shares held of a symbol."""
        position = self.positions.get(symbol)
        return position.quantity if position else 0

    def start_day(self, day: str, net_liquidation: int) -> None:
        """Count profit from here. Units: micros."""
        self.day, self.day_start_micros = day, net_liquidation
        self.day_start_realized_micros = self.realized_micros

    def closing_part(self, symbol: str, side: Side, shares: int) -> int:
        """Return how many of the shares would close what is held."""
        held = self.quantity(symbol)
        return min(shares, abs(held)) if held * side.sign < 0 else 0

    def realized_by(
        self, symbol: str, side: Side, shares: int, price_micros: int, commission_micros: int
    ) -> int | None:
        """Return the profit the closing part of a fill makes, or None if it only opens."""
        closing = self.closing_part(symbol, side, shares)
        if closing == 0:
            return None
        position = self.positions[symbol]
        cost = _share(position.cost_micros, closing, abs(position.quantity))
        proceeds = -side.sign * closing * price_micros
        return proceeds - cost - _share(commission_micros, closing, shares)

    def apply(self, execution: Execution) -> None:
        """Book one execution."""
        sign, shares = execution.side.sign, execution.shares
        position = self.positions.setdefault(execution.symbol, Position())
        closing = self.closing_part(execution.symbol, execution.side, shares)
        opening = shares - closing
        fee_closing = _share(execution.commission_micros, closing, shares)
        if closing:
            cost = _share(position.cost_micros, closing, abs(position.quantity))
            profit = -sign * closing * execution.price_micros - cost - fee_closing
            position.cost_micros -= cost
            position.realized_micros += profit
            self.realized_micros += profit
        fee_opening = execution.commission_micros - fee_closing
        position.cost_micros += sign * opening * execution.price_micros
        position.cost_micros += fee_opening if opening else 0
        position.quantity += sign * shares
        self.cash_micros -= sign * shares * execution.price_micros
        self.cash_micros -= execution.commission_micros

    def figures(
        self, mark: Callable[[str], int], initial_ppm: int, maintenance_ppm: int
    ) -> AccountFigures:
        """Return the figures at the given marks. Units: mark in micros per share."""
        net_value = gross = unrealized = 0
        for symbol, position in self.positions.items():
            if position.quantity == 0:
                continue
            value = position.quantity * (mark(symbol) or position.average_micros)
            net_value += value
            gross += abs(value)
            unrealized += value - position.cost_micros
        liquidation = self.cash_micros + net_value
        return AccountFigures(
            cash=self.cash_micros,
            gross_position=gross,
            net_liquidation=liquidation,
            unrealized=unrealized,
            realized=self.realized_micros - self.day_start_realized_micros,
            initial_margin=gross * initial_ppm // PPM,
            maintenance_margin=gross * maintenance_ppm // PPM,
            daily_profit=liquidation - (self.day_start_micros or self.deposited_micros),
        )


def _share(amount: int, part: int, whole: int) -> int:
    """Return the part's share of an amount, rounded towards zero, exact when part is whole."""
    if part == whole:
        return amount
    portion = abs(amount) * part // whole
    return portion if amount >= 0 else -portion
