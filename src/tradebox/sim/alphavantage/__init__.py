"""The stand-in for Alpha Vantage: a free and a premium key, and every error under HTTP 200."""
