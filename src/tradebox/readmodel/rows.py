"""The rows of the read model: names, periods, and the envelope around each.

Rules of this file:
- a row is one JSON object {"v", "epoch", "at_ns", "mono_ns", "period_s", "data"};
- a reader refuses a version it does not know and shows nothing rather than nonsense;
- age is monotonic time since it was written: past three periods a row is stale.
"""

from dataclasses import dataclass
from decimal import Decimal
from enum import Enum, StrEnum
from typing import Any

import orjson

SCHEMA_VERSION = 1
CHANNEL = f"rm:v{SCHEMA_VERSION}"
STALE_PERIODS = 3


class RowName(StrEnum):
    """Every row there is; a plan's detail is `plan:ID`."""

    HEADER = "header"
    ACCOUNTS = "accounts"
    POSITIONS = "positions"
    PLANS = "plans"
    ORDERS = "orders"
    HEALTH = "health"
    FEEDS = "feeds"
    ALERTS = "alerts"
    JOURNAL = "journal"


PERIOD_S: dict[RowName, float] = {
    RowName.HEADER: 1.0,
    RowName.ACCOUNTS: 1.0,
    RowName.POSITIONS: 1.0,
    RowName.PLANS: 1.0,
    RowName.ORDERS: 1.0,
    RowName.HEALTH: 1.0,
    RowName.FEEDS: 2.0,
    RowName.ALERTS: 1.0,
    RowName.JOURNAL: 1.0,
}
"""How often the dashboard writes each row, changed or not."""


@dataclass(frozen=True, slots=True)
class Row:
    """One row as read. Units: at_ns market time UTC, mono_ns monotonic of the same box."""

    epoch: int
    at_ns: int
    mono_ns: int
    period_s: float
    data: Any

    def age_s(self, mono_ns: int) -> float:
        """Return seconds since the row was written, never negative."""
        return max(0.0, (mono_ns - self.mono_ns) / 1e9)

    def is_stale(self, mono_ns: int) -> bool:
        """Say whether the row is older than three of its periods."""
        return self.age_s(mono_ns) > STALE_PERIODS * self.period_s


def key_of(name: str) -> str:
    """Return the Redis key of a row: rm:v1:plans, rm:v1:plan:ID."""
    return f"rm:v{SCHEMA_VERSION}:{name}"


def encode_row(row: Row) -> bytes:
    """Return the row as JSON; Decimals and enums as their text."""
    return orjson.dumps(
        {
            "v": SCHEMA_VERSION,
            "epoch": row.epoch,
            "at_ns": row.at_ns,
            "mono_ns": row.mono_ns,
            "period_s": row.period_s,
            "data": row.data,
        },
        default=_plain,
    )


def decode_row(blob: bytes | str | None) -> Row | None:
    """Return the row, or None for what is absent, garbage, or of another version."""
    if blob is None:
        return None
    try:
        fields = orjson.loads(blob)
        if fields["v"] != SCHEMA_VERSION:
            return None
        return Row(
            int(fields["epoch"]),
            int(fields["at_ns"]),
            int(fields["mono_ns"]),
            float(fields["period_s"]),
            fields["data"],
        )
    except (orjson.JSONDecodeError, KeyError, TypeError, ValueError):
        return None


def _plain(value: object) -> object:
    if isinstance(value, Decimal):
        return str(value)
    if isinstance(value, Enum):
        return value.value
    raise TypeError(type(value).__name__)
