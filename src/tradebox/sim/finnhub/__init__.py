"""The stand-in for Finnhub: REST and WebSocket of a free key, with the real one's limits."""
