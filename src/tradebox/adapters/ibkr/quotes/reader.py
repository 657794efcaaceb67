"""From frames to what the broker says of its quotes, exact to the micro-unit.

Rules of this file:
- a message that cannot be read is counted and passed over: a bad tick does not end the link;
- a price is read from its text, never through a float; what is no number is told as None;
- nothing here judges: whether a price is live, sound or late is decided by who is told.
"""

from collections.abc import Callable
from decimal import ROUND_HALF_EVEN, Decimal, InvalidOperation
from typing import Final, Protocol

from tradebox.domain.money import MICROS_PER_UNIT

MICROS_DIGITS_MAX: Final = 9
SIZE_DIGITS_MAX: Final = 15
_READ_ERRORS: Final = (ValueError, IndexError, ArithmeticError)


class Heard(Protocol):
    """Whom the reader tells, in wire order; kind is the broker's tick type."""

    def price(self, request_id: int, kind: int, micros: int | None, size: int) -> None:
        """A price with its size; None where the text is no number."""
        ...

    def size(self, request_id: int, kind: int, size: int) -> None:
        """A size alone."""
        ...

    def time(self, request_id: int, kind: int, seconds: int) -> None:
        """When the last trade was, in whole seconds UTC."""
        ...

    def halted(self, request_id: int, kind: int, *, is_halted: bool) -> None:
        """Whether the exchange has halted the symbol."""
        ...

    def data_type(self, request_id: int, data_type: int) -> None:
        """What this line's data are: 1 live, 2 frozen, 3 delayed, 4 delayed and frozen."""
        ...

    def taken(self, request_id: int) -> None:
        """The broker has taken a request for market data."""
        ...

    def code(self, request_id: int, code: int, text: str) -> None:
        """A message code; request_id -1 where it is about the connection."""
        ...

    def current_time(self, seconds: int) -> None:
        """The gateway's clock: the answer to a heartbeat."""
        ...

    def pause(self) -> None:
        """All that had arrived is told."""
        ...


LAST_TIMES: Final = (45, 88)
HALTS: Final = (49, 90)


class QuoteReader:
    """Stands where the library's client has its decoder."""

    serverVersion = 0  # noqa: N815 - the library sets it

    def __init__(self, heard: Heard) -> None:
        self.malformed = 0
        self.pause = heard.pause
        self._heard = heard
        self._handlers: dict[str, Callable[[list[str]], None]] = {
            "1": self._price,
            "2": self._size,
            "4": self._code,
            "45": self._generic,
            "46": self._string,
            "49": self._current_time,
            "58": self._data_type,
            "81": self._taken,
        }

    def interpret(self, fields: list[str]) -> None:
        """Read one message; one of another kind is passed over."""
        if not fields:
            return
        handler = self._handlers.get(fields[0])
        if handler is None:
            return
        try:
            handler(fields)
        except _READ_ERRORS:
            self.malformed += 1

    # TWS API, fields after the id: tickPrice 6, request, type, price, size, mask; tickSize 6,
    # request, type, size; tickGeneric and tickString 6, request, type, value.

    def _price(self, fields: list[str]) -> None:
        text = fields[4]
        if text:
            self._heard.price(int(fields[2]), int(fields[3]), micros_of(text), _whole(fields[5]))

    def _size(self, fields: list[str]) -> None:
        self._heard.size(int(fields[2]), int(fields[3]), _whole(fields[4]))

    def _generic(self, fields: list[str]) -> None:
        kind = int(fields[3])
        if kind in HALTS:
            self._heard.halted(int(fields[2]), kind, is_halted=Decimal(fields[4]) > 0)

    def _string(self, fields: list[str]) -> None:
        kind = int(fields[3])
        if kind in LAST_TIMES:
            self._heard.time(int(fields[2]), kind, int(fields[4]))

    def _data_type(self, fields: list[str]) -> None:
        self._heard.data_type(int(fields[2]), int(fields[3]))

    def _taken(self, fields: list[str]) -> None:
        self._heard.taken(int(fields[1]))

    def _code(self, fields: list[str]) -> None:
        self._heard.code(int(fields[2]), int(fields[3]), fields[4])

    def _current_time(self, fields: list[str]) -> None:
        self._heard.current_time(int(fields[2]))


def micros_of(text: str) -> int | None:
    """Return a price in micro-units, half-even; None where the text is no usable number."""
    try:
        value = Decimal(text)
    except InvalidOperation:
        return None
    if not value.is_finite() or value.adjusted() > MICROS_DIGITS_MAX:
        return None
    return int((value * MICROS_PER_UNIT).to_integral_value(ROUND_HALF_EVEN))


def _whole(text: str) -> int:
    """Return a size as a whole number of shares, fractions cut; 0 where it is no number."""
    try:
        value = Decimal(text)
    except InvalidOperation:
        return 0
    return int(value) if value.is_finite() and value.adjusted() <= SIZE_DIGITS_MAX else 0
