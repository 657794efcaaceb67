"""The order link on the TWS socket API: the only writer of order bytes."""

from tradebox.adapters.ibkr.orders.port import IbOrderPort

__all__ = ["IbOrderPort"]
