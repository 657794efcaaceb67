"""The engine's connection to Redis: a client that starts degraded and heals by itself.

Rules of this file:
- Redis down is a state, never an error of start; a connection is made when one is asked for;
- nothing that decides reads from here.
"""

import contextlib
from collections.abc import Iterator

from redis.asyncio import Redis

from tradebox.adapters.redis.client import make_client, mapped
from tradebox.errors import BusUnavailable


class RedisBus:
    """StoreLink on Redis. `with bus.client() as redis` lends the client."""

    name = "redis"

    def __init__(self, url: str) -> None:
        self._url = url
        self._client = make_client(url, name="tradebox-engine")
        self._reason = "not asked yet"
        self.is_up = False

    @property
    def reason(self) -> str:
        """Why it is down; empty while it is up."""
        return "" if self.is_up else self._reason

    @contextlib.contextmanager
    def client(self) -> Iterator[Redis]:
        """Lend the client.

        Raises: BusUnavailable when Redis does not answer inside the block.
        """
        try:
            with mapped(self._url):
                yield self._client
        except BusUnavailable as error:
            self.is_up = False
            self._reason = str(error.fields.get("reason", error.message))
            raise
        self.is_up = True

    async def probe(self) -> None:
        """Ask for a sign of life. Raises: BusUnavailable."""
        with self.client() as redis:
            await redis.ping()

    async def close(self) -> None:
        """Let go of every connection; a later use connects anew."""
        self.is_up, self._reason = False, "closed"
        with contextlib.suppress(BusUnavailable), mapped(self._url):
            await self._client.aclose()
