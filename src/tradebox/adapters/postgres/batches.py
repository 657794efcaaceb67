"""How a batch becomes statements: one where its writes do not meet, else a transaction of several.

Rules of this file:
- the first part of every batch claims its id, moves the plan that rides in it and tells the
  journal; where the id is known already nothing else happens;
- parts of one statement do not see each other's rows: two writes to one row are never folded;
- few shapes are folded, so that a connection keeps them prepared.
"""

import re
from collections.abc import Sequence
from functools import cache
from typing import Any, Final, NamedTuple

IF_NEW: Final = "{if_new}"
"""Where a write says that it is done for a new batch only."""
FOLDED_MAX: Final = 4
_CLAIM_VALUES: Final = 13
_IS_NEW: Final = "EXISTS (SELECT FROM claim)"
_MARK: Final = re.compile(r"\$(\d+)")
_ID: Final = """
WITH claim AS (
    INSERT INTO trade.batch (batch_id) VALUES ($1) ON CONFLICT DO NOTHING RETURNING batch_id
)
"""
_PLAN: Final = """
plan AS (
    UPDATE trade.plan SET state = $12, machine = $13::text::jsonb, updated_at = clock_timestamp()
    WHERE plan_id = $11 AND EXISTS (SELECT FROM claim)
)
"""
_EVENTS: Final = """
INSERT INTO trade.event (at_ns, run_id, epoch, kind, account, plan_id, order_ref, symbol, data)
SELECT $2, $3, $4, kind, $5, plan_id, order_ref, symbol, data
FROM unnest($6::text[], $7::text[], $8::text[], $9::text[], $10::jsonb[])
     WITH ORDINALITY AS new(kind, plan_id, order_ref, symbol, data, place)
WHERE EXISTS (SELECT FROM claim)
ORDER BY place
"""


class Write(NamedTuple):
    """One statement of a batch. row: what it writes to, None where nothing else can meet it."""

    text: str
    values: tuple[Any, ...]
    row: tuple[str, ...] | None = None


async def write_batch(connection: Any, claim: tuple[Any, ...], writes: Sequence[Write]) -> None:
    """Write a batch in one transaction, once. claim: the values of its first part."""
    rows = [write.row for write in writes if write.row is not None]
    if len(writes) <= FOLDED_MAX and len(set(rows)) == len(rows):
        values = [value for write in writes for value in write.values]
        await connection.execute(_folded(tuple(write.text for write in writes)), *claim, *values)
        return
    async with connection.transaction():
        if await connection.execute(_folded(()), *claim) == "INSERT 0 0":
            return
        for write in writes:
            await connection.execute(write.text.replace(IF_NEW, "true"), *write.values)


@cache
def _folded(texts: tuple[str, ...]) -> str:
    """Return one statement of the first part and these writes."""
    parts, number = [_ID, _PLAN], _CLAIM_VALUES
    for place, text in enumerate(texts):
        parts.append(f"write_{place} AS ({_moved(text, number).replace(IF_NEW, _IS_NEW)})")
        number += max(int(mark) for mark in _MARK.findall(text))
    return f"{', '.join(parts)} {_EVENTS}"


def _moved(text: str, by: int) -> str:
    """Return a statement whose values begin so many places later."""
    return _MARK.sub(lambda mark: f"${int(mark[1]) + by}", text)
