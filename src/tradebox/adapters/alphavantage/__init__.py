"""Alpha Vantage: quotes within a quota, every error of which is HTTP 200."""
