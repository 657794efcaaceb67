"""PostgreSQL: the truth of tradebox. Speaks asyncpg, with readmodel and backtest."""
