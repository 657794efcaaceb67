"""Finnhub: the trade stream over WebSocket and single quotes over REST."""
