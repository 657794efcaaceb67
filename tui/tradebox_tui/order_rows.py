"""The day's orders: what the engine tells since its start, over what the books keep.

Rules of this file:
- what the engine tells wins, but it knows nothing from before its start: an order's way, its first
  moment and its fills are the longer of both;
- with nothing from the books the engine's own order of arrival stays.
"""

from collections.abc import Mapping, Sequence
from typing import Any

Order = dict[str, Any]


def merged(kept: Sequence[Mapping[str, Any]], told: Sequence[Order]) -> list[Order]:
    """Return every order once, oldest first.

    Holds:   each order_ref of both once; state and filled of what was told.
    """
    if not kept:
        return list(told)
    known = {str(row.get("order_ref")): row for row in kept}
    live = {str(row.get("order_ref")): row for row in told}
    rows = [dict(row) for ref, row in known.items() if ref not in live]
    rows += [_joined(known.get(ref), row) for ref, row in live.items()]
    return sorted(rows, key=_first_ns)


def _joined(kept: Mapping[str, Any] | None, told: Order) -> Order:
    if kept is None:
        return told
    first = [at for row in (kept, told) if isinstance(at := row.get("first_ns"), int)]
    row = {**told, "path": _way(kept.get("path") or [], told.get("path") or [])}
    if first:
        row["first_ns"] = min(first)
    if int(kept.get("fill_quantity") or 0) > int(told.get("fill_quantity") or 0):
        row["fill_quantity"], row["average_price"] = kept["fill_quantity"], kept["average_price"]
    return row


def _way(kept: Sequence[str], told: Sequence[str]) -> list[str]:
    """Return the longer way, told's last state at its end."""
    if len(told) >= len(kept) or not told:
        return list(told or kept)
    return [*kept] if kept[-1] == told[-1] else [*kept, told[-1]]


def _first_ns(row: Mapping[str, Any]) -> int:
    at_ns = row.get("first_ns") or row.get("at_ns")
    return at_ns if isinstance(at_ns, int) else 0
