"""One GET of a vendor, bounded in time and in size: no server holds its caller any longer.

Rules of this file:
- the deadline is of the whole call: an HTTP client's own timeouts are of single reads, and a server
  that sends a byte now and then would never meet them;
- a body is read up to its limit and no further, whatever length it claims.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import httpx

DEADLINE_S: Final = 3.0
"""An answer that takes longer is worth less on the live path than the next vendor's."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server said. is_cut: its body is longer than was allowed, and not all here."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    is_cut: bool


async def bounded_get(
    client: httpx.AsyncClient,
    path: str,
    params: Mapping[str, str],
    bytes_max: int,
    *,
    deadline_s: float = DEADLINE_S,
) -> Answer:
    """Return the answer of one GET. Units: deadline_s real seconds for all of it.

    Raises: httpx.HTTPError for a line that fails; TimeoutError past the deadline.
    """
    body = bytearray()
    async with (
        asyncio.timeout(deadline_s),
        client.stream("GET", path, params=dict(params)) as response,
    ):
        async for part in response.aiter_bytes():
            body += part
            if len(body) > bytes_max:
                break
    is_cut = len(body) > bytes_max
    return Answer(response.status_code, response.headers, bytes(body[:bytes_max]), is_cut)
