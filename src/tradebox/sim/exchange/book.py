"""The orders of one account: by id, by symbol, by parent, by OCA group; and its executions.

Rules of this file:
- an order that is done leaves the symbol index but stays known by its ids;
- held orders (not transmitted) live here in memory only, as in a real gateway;
- nothing here decides; it finds.
"""

from dataclasses import dataclass, field

from tradebox.sim.exchange.accounts import Account
from tradebox.sim.exchange.orders import Execution, Order, Side

OrderKey = tuple[int, int]
"""Client id and order id."""


@dataclass(slots=True)
class Book:
    """One account with its orders and executions."""

    account: Account
    orders: dict[int, Order] = field(default_factory=dict)
    held: dict[OrderKey, Order] = field(default_factory=dict)
    executions: list[Execution] = field(default_factory=list)
    highest_ids: dict[int, int] = field(default_factory=dict)
    _by_key: dict[OrderKey, Order] = field(default_factory=dict)
    _live: dict[str, dict[int, Order]] = field(default_factory=dict)
    _children: dict[int, list[int]] = field(default_factory=dict)

    def add(self, order: Order) -> None:
        """Take in an order that has its perm id."""
        self.orders[order.perm_id] = order
        self._by_key[order.client_id, order.order_id] = order
        if order.parent_perm_id:
            self._children.setdefault(order.parent_perm_id, []).append(order.perm_id)
        if not order.status.is_done:
            self._live.setdefault(order.ticket.symbol, {})[order.perm_id] = order

    def retire(self, order: Order) -> None:
        """Take a done order out of the symbol index."""
        live = self._live.get(order.ticket.symbol, {})
        live.pop(order.perm_id, None)

    def find(self, client_id: int, order_id: int) -> Order | None:
        """Return the transmitted order of these ids, done or not; of a forked one what works."""
        newest = self._by_key.get((client_id, order_id))
        if newest is None or not newest.status.is_done:
            return newest
        twins = (o for o in self.live(newest.ticket.symbol) if o.client_id == client_id)
        return next((twin for twin in twins if twin.order_id == order_id), newest)

    def live(self, symbol: str) -> list[Order]:
        """Return the symbol's orders that are not done, oldest first."""
        return list(self._live.get(symbol, {}).values())

    def all_live(self) -> list[Order]:
        """Return every order that is not done, oldest first."""
        orders = [order for live in self._live.values() for order in live.values()]
        return sorted(orders, key=lambda order: order.perm_id)

    def has_live(self, symbol: str) -> bool:
        """Say whether the symbol has an order that is not done."""
        return bool(self._live.get(symbol))

    def children(self, order: Order) -> list[Order]:
        """Return the order's children that are not done."""
        members = (self.orders[perm_id] for perm_id in self._children.get(order.perm_id, ()))
        return [child for child in members if not child.status.is_done]

    def group(self, order: Order) -> list[Order]:
        """Return the other live orders of the order's OCA group."""
        if not order.oca_group:
            return []
        return [
            other
            for other in self.all_live()
            if other.oca_group == order.oca_group and other is not order
        ]

    def held_family(self, root: Order) -> list[Order]:
        """Return the held members of the root's parent/child group, the root first."""
        members = [
            order
            for order in self.held.values()
            if order.client_id == root.client_id
            and order is not root
            and order.ticket.parent_id == root.order_id
        ]
        members.sort(key=lambda order: order.order_id)
        is_held = (root.client_id, root.order_id) in self.held
        return [root, *members] if is_held else members

    def count_working(self, symbol: str, side: Side) -> int:
        """Return how many orders of the symbol and side are not done."""
        return sum(1 for order in self.live(symbol) if order.ticket.side is side)

    def opening_notional(self, symbol_price: dict[str, int]) -> int:
        """Return what the live orders without a parent would open. Units: micros."""
        total = 0
        for order in self.all_live():
            if order.parent_perm_id:
                continue
            ticket = order.ticket
            closing = self.account.closing_part(ticket.symbol, ticket.side, order.remaining)
            price = ticket.limit_micros or ticket.trigger_micros
            price = price or symbol_price.get(ticket.symbol, 0)
            total += (order.remaining - closing) * price
        return total

    def use_id(self, client_id: int, order_id: int) -> None:
        """Remember the highest order id of a client."""
        self.highest_ids[client_id] = max(self.highest_ids.get(client_id, 0), order_id)

    def next_order_id(self, client_id: int) -> int:
        """Return the lowest id that the client may use."""
        return self.highest_ids.get(client_id, 0) + 1
