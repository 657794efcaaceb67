"""Where a trailing stop stands: pure functions of the order and the last price.

Rules of this file:
- a trailing stop only follows the price in its favour, never back;
- it stands on the price grid, rounded away from the market;
- units are micros; a distance is an amount or parts per million of the price.
"""

from tradebox.sim.exchange.accounts import PPM
from tradebox.sim.exchange.orders import Order, Side, Ticket


def distance_micros(ticket: Ticket, last_micros: int) -> int:
    """Return how far behind the price the stop stands."""
    return ticket.trail_micros or last_micros * ticket.trail_ppm // PPM


def followed_stop(order: Order, last_micros: int, increment_micros: int) -> int:
    """Return the stop after a price was seen.

    Holds: a sell's stop never falls, a buy's never rises, and both are on the grid.
    """
    ticket = order.ticket
    present = order.stop_micros or ticket.trail_stop_micros
    if last_micros <= 0:
        return present
    away = distance_micros(ticket, last_micros)
    if ticket.side is Side.SELL:
        wanted = (last_micros - away) // increment_micros * increment_micros
        return max(present, wanted, increment_micros)
    wanted = -(-(last_micros + away) // increment_micros) * increment_micros
    return min(present, wanted) if present else wanted
