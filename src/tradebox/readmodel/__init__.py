"""What may be seen: rows, schema versions, reader."""

from tradebox.readmodel.history import BarRow, EventRow, StepRow
from tradebox.readmodel.places import Address, NoPlaces, Places, read_places
from tradebox.readmodel.rows import (
    CHANNEL,
    PERIOD_S,
    SCHEMA_VERSION,
    Row,
    RowName,
    decode_row,
    encode_row,
    key_of,
)

__all__ = [
    "CHANNEL",
    "PERIOD_S",
    "SCHEMA_VERSION",
    "Address",
    "BarRow",
    "EventRow",
    "NoPlaces",
    "Places",
    "Row",
    "RowName",
    "StepRow",
    "decode_row",
    "encode_row",
    "key_of",
    "read_places",
]
