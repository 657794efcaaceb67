"""Frames and fields of the TWS socket protocol, without any socket.

Rules of this file:
- a frame is a 4-byte big-endian length and that many bytes: fields, each ended by NUL;
- a frame longer than the limit, or a field that cannot be read, raises WireInvalid;
- unset numbers have several spellings; all of them read as None;
- numbers leave as decimal text, prices made from integer micro-units without a float.
"""

import struct
from collections.abc import Sequence
from decimal import ROUND_UP, Decimal, InvalidOperation

from tradebox.errors import WireInvalid
from tradebox.sim.exchange.market_port import MICROS

FRAME_BYTES_MAX = 256 * 1024
INT32_MAX = 2147483647
UNSET_DOUBLE = "1.7976931348623157E308"
UNSET_INTEGER = str(INT32_MAX)

_LENGTH = struct.Struct(">I")
_UNSET_NUMBERS = frozenset(
    {
        "",
        UNSET_INTEGER,
        "9223372036854775807",
        "170141183460469231731687303715884105727",
        "1.7976931348623157e+308",
        "1.7976931348623157e308",
        "none",
    }
)
_TRUE = frozenset({"1", "true"})
_FALSE = frozenset({"", "0", "false"})


class FrameDecoder:
    """Cuts a byte stream into frames.

    Holds: any split of a stream gives the same frames; at most one frame is buffered.
    """

    def __init__(self, limit: int = FRAME_BYTES_MAX) -> None:
        self._buffer = bytearray()
        self._limit = limit

    def feed(self, data: bytes) -> list[bytes]:
        """Return the frames that are complete now.

        Raises: WireInvalid if a frame announces more than the limit.
        """
        self._buffer += data
        frames: list[bytes] = []
        position = 0
        while len(self._buffer) - position >= _LENGTH.size:
            (size,) = _LENGTH.unpack_from(self._buffer, position)
            if size > self._limit:
                raise WireInvalid("the frame is too long", size=size, limit=self._limit)
            end = position + _LENGTH.size + size
            if end > len(self._buffer):
                break
            frames.append(bytes(self._buffer[position + _LENGTH.size : end]))
            position = end
        del self._buffer[:position]
        return frames


def encode_frame(payload: bytes) -> bytes:
    """Return the payload with its length before it."""
    return _LENGTH.pack(len(payload)) + payload


def encode(fields: Sequence[object]) -> bytes:
    """Return one frame with the fields; True and False leave as 1 and 0."""
    texts = [field if field.__class__ is str else _text(field) for field in fields]
    return encode_frame(("\0".join(texts) + "\0").encode())


def decode(payload: bytes) -> list[str]:
    """Return the fields of a frame.

    Raises: WireInvalid if the payload is no text or its last field is not ended.
    """
    try:
        text = payload.decode()
    except UnicodeDecodeError as error:
        raise WireInvalid("the frame is not text") from error
    if not text.endswith("\0"):
        raise WireInvalid("the last field is not ended")
    return text[:-1].split("\0")


def price_text(micros: int) -> str:
    """Return a price in dollars, exact, with at least one decimal."""
    whole, part = divmod(abs(micros), MICROS)
    decimals = f"{part:06d}".rstrip("0") or "0"
    return f"{'-' if micros < 0 else ''}{whole}.{decimals}"


def money_text(micros: int) -> str:
    """Return an amount in dollars with two decimals, rounded half up in size."""
    cents = (abs(micros) + 5_000) // 10_000
    return f"{'-' if micros < 0 and cents else ''}{cents // 100}.{cents % 100:02d}"


def average_text(notional_micros: int, shares: int) -> str:
    """Return notional divided by shares as a price, to eight decimals."""
    if shares == 0:
        return "0.0"
    value = (Decimal(notional_micros) / Decimal(shares)).scaleb(-6)
    return format(value.quantize(Decimal("1e-8")).normalize(), "f")


def escaped(text: str) -> str:
    """Return the text as clients unescape it: non-ASCII and backslashes as escapes."""
    return text.encode("unicode-escape").decode("ascii")


class FieldReader:
    """Reads the fields of one message in order."""

    def __init__(self, fields: Sequence[str]) -> None:
        self._fields = fields
        self._next = 0

    @property
    def left(self) -> int:
        """Return how many fields are not read yet."""
        return len(self._fields) - self._next

    def text(self) -> str:
        """Return the next field."""
        if self._next >= len(self._fields):
            raise WireInvalid("the message ends too early", fields=len(self._fields))
        self._next += 1
        return self._fields[self._next - 1]

    def take(self, count: int) -> Sequence[str]:
        """Return so many fields."""
        if self.left < count:
            raise WireInvalid("the message ends too early", fields=len(self._fields))
        self._next += count
        return self._fields[self._next - count : self._next]

    def skip(self, count: int = 1) -> None:
        """Pass over fields."""
        self.take(max(count, 0))

    def number(self) -> int | None:
        """Return the next field as a whole number, None where it is unset."""
        return read_integer(self.text())

    def integer(self) -> int:
        """Return the next field as a whole number, 0 where it is unset."""
        return self.number() or 0

    def flag(self) -> bool:
        """Return the next field as a truth value."""
        return read_flag(self.text())

    def end(self) -> None:
        """Assert that everything was read.

        Raises: WireInvalid if fields are left.
        """
        if self.left:
            raise WireInvalid("the message has fields too many", left=self.left)


def read_flag(text: str) -> bool:
    """Return a truth value; numpy's spelling is accepted too."""
    lowered = text.strip().lower()
    if lowered in _TRUE:
        return True
    if lowered in _FALSE:
        return False
    raise WireInvalid("not a truth value", field=text[:40])


def is_unset(text: str) -> bool:
    """Say whether the text is one of the spellings of "no number"."""
    return text.strip().lower() in _UNSET_NUMBERS


def read_decimal(text: str) -> Decimal | None:
    """Return a finite number, or None where it is unset."""
    if is_unset(text):
        return None
    try:
        value = Decimal(text.strip())
    except InvalidOperation:
        value = Decimal("NaN")
    if not value.is_finite() or abs(value.adjusted()) > 40:
        raise WireInvalid("not a number", field=text[:40])
    return value


def read_integer(text: str) -> int | None:
    """Return a whole number, or None where it is unset."""
    value = read_decimal(text)
    if value is None:
        return None
    if value != value.to_integral_value():
        raise WireInvalid("not a whole number", field=text[:40])
    return int(value)


def read_micros(text: str) -> int:
    """Return a price in micro-units, 0 where it is unset.

    A remainder below one micro rounds away from zero, so that a price beside the increment grid
    stays beside it.
    """
    value = read_decimal(text)
    if value is None:
        return 0
    return int((value * MICROS).to_integral_value(rounding=ROUND_UP))


def _text(field: object) -> str:
    if isinstance(field, str):
        return field
    if isinstance(field, bool):
        return "1" if field else "0"
    return str(field)
