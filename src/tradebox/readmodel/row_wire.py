"""Asks Redis for rows on the wire itself: four commands, and no way to send another.

Rules of this file:
- AUTH, CLIENT SETNAME, SELECT and MGET are all it can say: a console needs no more of a driver,
  and a driver would be a quarter of its start;
- an answer that is an error, or none at all, ends the connection: the next question begins anew.

Source: Redis serialization protocol specification, RESP2.
"""

import asyncio
import contextlib
import ssl
from collections.abc import Sequence
from typing import Final, Self
from urllib.parse import parse_qs, unquote, urlsplit

from tradebox.errors import BusUnavailable

PORT: Final = 6379
NAME: Final = "tradebox-console"
VALUE_BYTES_MAX: Final = 64 << 20
LINE_END: Final = b"\r\n"

Answer = bytes | int | None | list["Answer"]


class RowWire:
    """One connection; `is_open` until an answer was missed."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self.is_open = True

    @classmethod
    async def connect(cls, url: str) -> Self:
        """Connect to redis://, rediss:// or unix:// and log in.

        Raises: BusUnavailable where the login is refused; OSError.
        """
        parts = urlsplit(url)
        if parts.scheme == "unix":
            streams = await asyncio.open_unix_connection(unquote(parts.path))
            number = parse_qs(parts.query).get("db", ["0"])[0]
        else:
            context = ssl.create_default_context() if parts.scheme == "rediss" else None
            streams = await asyncio.open_connection(parts.hostname, parts.port or PORT, ssl=context)
            number = parts.path.strip("/") or "0"
        wire = cls(*streams)
        login = [unquote(word) for word in (parts.username, parts.password) if word]
        try:
            if login:
                await wire._say("AUTH", *login)
            with contextlib.suppress(BusUnavailable):  # a name is for people who look, no more
                await wire._say("CLIENT", "SETNAME", NAME)
            if number != "0":
                await wire._say("SELECT", number)
        except BaseException:
            wire.close()
            raise
        return wire

    async def mget(self, keys: Sequence[str]) -> list[bytes | None]:
        """Return the value of each key, None where there is none.

        Raises: BusUnavailable, OSError; the connection has ended then.
        """
        values = await self._say("MGET", *keys)
        if not isinstance(values, list) or len(values) != len(keys):
            self.close()
            raise BusUnavailable("Redis gave an answer to another question")
        return [value if isinstance(value, bytes) else None for value in values]

    def close(self) -> None:
        """End the connection; harmless twice."""
        self.is_open = False
        self._writer.close()

    async def _say(self, *words: str) -> Answer:
        said = [f"*{len(words)}".encode()]
        for word in words:
            data = word.encode()
            said += [b"$%d" % len(data), data]
        try:
            self._writer.write(LINE_END.join(said) + LINE_END)
            return await self._answer()
        except BusUnavailable as refused:
            if not refused.fields.get("is_answer"):
                self.close()
            raise
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, ValueError) as error:
            self.close()
            raise BusUnavailable("Redis hung up") from error
        except BaseException:  # what was asked and not read would answer the next question
            self.close()
            raise

    async def _answer(self) -> Answer:
        line = (await self._reader.readuntil(LINE_END))[: -len(LINE_END)]
        kind, rest = line[:1], line[1:]
        if kind == b"+":
            return rest
        if kind == b"-":
            raise BusUnavailable(rest.decode("utf-8", "replace"), is_answer=True)
        count = int(rest)
        if kind == b":":
            return count
        if kind == b"*":
            return [await self._answer() for _ in range(count)]
        if kind != b"$" or count > VALUE_BYTES_MAX:
            raise ValueError("no RESP2")
        if count < 0:
            return None
        return (await self._reader.readexactly(count + len(LINE_END)))[: -len(LINE_END)]
