"""The last prices in Redis: one blob a symbol with a TTL, one announcement a batch, fenced.

What may be lost (a price: the next one comes) is announced on the channel `md:t`; what may not
(another source, a stale price, a refused tick, a failover) is appended to the stream `md:ev`.

Rules of this file:
- one script call writes one batch whole or not at all, so a batch needs no transaction;
- `md:epoch` holds the highest epoch that wrote; an older writer is refused, a newer one stored,
  an absent one set again: Redis fences by epoch and knows no sequence;
- a blob is JSON {s, p, v, e, r, src, t, q, ep, n}: symbol, price in micro-units, size, event and
  receive time in ns UTC, source, its tier (0: the broker), quality, epoch, number within its
  symbol; age is judged by `e`.
"""

from collections.abc import Sequence
from typing import Any, Final

import orjson
from redis.exceptions import NoScriptError

from tradebox.adapters.redis.bus import RedisBus
from tradebox.domain.market import TIER, AdmittedTick
from tradebox.domain.tier_values import STREAMS
from tradebox.ports.bus import BusFenced, Published

EPOCH_KEY: Final = "md:epoch"
QUOTE_PREFIX: Final = "md:q:"
CHANNEL: Final = "md:t"
STREAM: Final = "md:ev"
EPOCH_TTL_MS: Final = 60_000
EVENTS_MAX: Final = 100_000
EVENTS_TTL_MS: Final = 7 * 86_400_000
"""After the last event; whoever reads the stream looks within a week."""
POLLED_TTL_MS: Final = 90_000

SCRIPT: Final = """
local stored = redis.call('GET', KEYS[1])
local mine = tonumber(ARGV[1])
if stored and tonumber(stored) > mine then
  return {0, stored}
end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
local count = #KEYS - 1
for i = 1, count do
  redis.call('SET', KEYS[i + 1], ARGV[3 + count + i], 'PX', ARGV[3 + i])
end
if count > 0 then
  redis.call('PUBLISH', ARGV[3], '[' .. table.concat(ARGV, ',', 4 + count) .. ']')
end
return {1, stored or ''}
"""
LOG_SCRIPT: Final = """
local stored = redis.call('GET', KEYS[1])
if stored and tonumber(stored) > tonumber(ARGV[1]) then
  return {0, stored}
end
for i = 4, #ARGV do
  redis.call('XADD', KEYS[2], 'MAXLEN', '~', ARGV[2], '*', 'e', ARGV[i])
end
redis.call('PEXPIRE', KEYS[2], ARGV[3])
return {1, stored or ''}
"""


class RedisPrices:
    """The port PriceBus on Redis or Valkey.

    Units:   ttl_ms: how long a stream's blob lives after its last write; polled_ttl_ms: a poll's.
    Holds:   after a write by epoch n, no writer with an epoch below n changes anything.
    """

    def __init__(
        self, bus: RedisBus, ttl_ms: int = 15_000, polled_ttl_ms: int = POLLED_TTL_MS
    ) -> None:
        self._bus = bus
        self._ttl_ms = ttl_ms
        self._polled_ttl_ms = max(ttl_ms, polled_ttl_ms)
        self._shas: dict[str, str] = {}

    async def publish(self, epoch: int, ticks: Sequence[AdmittedTick]) -> Published | BusFenced:
        """Write one batch.

        Raises: BusUnavailable.
        """
        keys = [EPOCH_KEY, *(QUOTE_PREFIX + tick.symbol for tick in ticks)]
        ttls_ms = (
            self._ttl_ms if tick.source in STREAMS else self._polled_ttl_ms for tick in ticks
        )
        words = [epoch, EPOCH_TTL_MS, CHANNEL, *ttls_ms, *map(blob, ticks)]
        done, stored = await self._run(SCRIPT, keys, words)
        if not done:
            return BusFenced(epoch, int(stored))
        return Published(len(ticks), was_empty=not stored)

    async def log(self, epoch: int, events: Sequence[bytes]) -> Published | BusFenced:
        """Append events to the stream, in their order.

        Raises: BusUnavailable.
        """
        words = [epoch, EVENTS_MAX, EVENTS_TTL_MS, *events]
        done, stored = await self._run(LOG_SCRIPT, [EPOCH_KEY, STREAM], words)
        if not done:
            return BusFenced(epoch, int(stored))
        return Published(len(events), was_empty=not stored)

    async def _run(self, script: str, keys: list[str], words: list[Any]) -> tuple[int, bytes]:
        """Call a script by its hash; load it first where the server does not know it."""
        with self._bus.client() as redis:
            if sha := self._shas.get(script):
                try:
                    answer = await redis.evalsha(sha, len(keys), *keys, *words)
                except NoScriptError:
                    del self._shas[script]
                else:
                    return answer[0], answer[1]
            sha = self._shas[script] = await redis.script_load(script)
            answer = await redis.evalsha(sha, len(keys), *keys, *words)
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
            "t": TIER[tick.source],
            "q": tick.quality,
            "ep": tick.epoch,
            "n": tick.pub_seq,
        }
    )
