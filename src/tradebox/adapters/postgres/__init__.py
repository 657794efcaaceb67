"""PostgreSQL: the truth of tradebox. The only package that speaks asyncpg."""
