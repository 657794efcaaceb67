"""Writes the rows of the read model to Redis: one pipeline, one announcement."""

from collections.abc import Mapping

import orjson

from tradebox.adapters.redis.bus import RedisBus
from tradebox.readmodel import CHANNEL, key_of


class RedisRows:
    """The port RowWriter on Redis or Valkey."""

    def __init__(self, bus: RedisBus) -> None:
        self._bus = bus

    async def write_rows(self, rows: Mapping[str, bytes], ttl_ms: int) -> None:
        """Store rows by name and announce them. Raises BusUnavailable."""
        if not rows:
            return
        with self._bus.client() as redis:
            pipeline = redis.pipeline(transaction=False)
            for name, blob in rows.items():
                pipeline.set(key_of(name), blob, px=ttl_ms)
            pipeline.publish(CHANNEL, orjson.dumps(sorted(rows)))
            await pipeline.execute()
