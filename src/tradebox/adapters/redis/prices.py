"""The last prices in Redis: one blob a symbol with a TTL, one announcement a batch, fenced.

Rules of this file:
- one script call writes one batch whole or not at all, so a batch needs no transaction;
- `md:epoch` holds the highest epoch that wrote; an older writer is refused, a newer one stored,
  an absent one set again: Redis fences by epoch and knows no sequence;
- a blob is JSON {s, p, v, e, r, src, q, ep, n}: symbol, price in micro-units, size, event and
  receive time in ns UTC, source, quality, epoch, number within its symbol; age is judged by `e`.
"""

from collections.abc import Sequence
from typing import Any, Final

import orjson
from redis.exceptions import NoScriptError

from tradebox.adapters.redis.bus import RedisBus
from tradebox.domain.market import AdmittedTick
from tradebox.ports.bus import BusFenced, Published

EPOCH_KEY: Final = "md:epoch"
QUOTE_PREFIX: Final = "md:q:"
CHANNEL: Final = "md:t"
EPOCH_TTL_MS: Final = 60_000

SCRIPT: Final = """
local stored = redis.call('GET', KEYS[1])
local mine = tonumber(ARGV[1])
if stored and tonumber(stored) > mine then
  return {0, stored}
end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
for i = 2, #KEYS do
  redis.call('SET', KEYS[i], ARGV[i + 3], 'PX', ARGV[3])
end
if #KEYS > 1 then
  redis.call('PUBLISH', ARGV[4], '[' .. table.concat(ARGV, ',', 5) .. ']')
end
return {1, stored or ''}
"""


class RedisPrices:
    """The port PriceBus on Redis or Valkey.

    Units:   ttl_ms: how long a blob lives after its last write.
    Holds:   after a write by epoch n, no writer with an epoch below n changes anything.
    """

    def __init__(self, bus: RedisBus, ttl_ms: int = 15_000) -> None:
        self._bus = bus
        self._ttl_ms = ttl_ms
        self._sha = ""

    async def publish(self, epoch: int, ticks: Sequence[AdmittedTick]) -> Published | BusFenced:
        """Write one batch.

        Raises: BusUnavailable.
        """
        keys = [EPOCH_KEY, *(QUOTE_PREFIX + tick.symbol for tick in ticks)]
        words = [epoch, EPOCH_TTL_MS, self._ttl_ms, CHANNEL, *map(blob, ticks)]
        done, stored = await self._run(keys, words)
        if not done:
            return BusFenced(epoch, int(stored))
        return Published(len(ticks), was_empty=not stored)

    async def _run(self, keys: list[str], words: list[Any]) -> tuple[int, bytes]:
        """Call the script by its hash; load it first where the server does not know it."""
        with self._bus.client() as redis:
            if self._sha:
                try:
                    answer = await redis.evalsha(self._sha, len(keys), *keys, *words)
                except NoScriptError:
                    self._sha = ""
                else:
                    return answer[0], answer[1]
            self._sha = await redis.script_load(SCRIPT)
            answer = await redis.evalsha(self._sha, len(keys), *keys, *words)
            return answer[0], answer[1]


def blob(tick: AdmittedTick) -> bytes:
    """Return a tick as the bytes that watchers read."""
    return orjson.dumps(
        {
            "s": tick.symbol,
            "p": tick.price_micros,
            "v": tick.size,
            "e": tick.event_ns,
            "r": tick.recv_ns,
            "src": tick.source,
            "q": tick.quality,
            "ep": tick.epoch,
            "n": tick.pub_seq,
        }
    )
