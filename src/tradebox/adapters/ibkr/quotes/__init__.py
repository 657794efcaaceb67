"""The broker's quotes, on a connection of their own that cannot write an order."""

from tradebox.adapters.ibkr.quotes.stream import IbQuoteStream

__all__ = ["IbQuoteStream"]
