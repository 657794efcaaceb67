"""What may be seen: rows, schema versions, reader."""

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
    "Row",
    "RowName",
    "decode_row",
    "encode_row",
    "key_of",
]
