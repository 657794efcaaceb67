"""Yahoo by the unmodified yfinance, in a process of its own: quotes and daily history."""
