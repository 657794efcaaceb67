"""Batches as JSON, for the spool: what PostgreSQL did not take waits in this form.

Rules of this file:
- every change class has its name in the record; an unknown name is refused, never skipped;
- a Decimal is text, so that nothing is rounded on the way.
"""

import json
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from decimal import Decimal
from enum import Enum
from types import NoneType, UnionType
from typing import Any, Final, get_args, get_origin, get_type_hints

from tradebox.errors import WireInvalid
from tradebox.ports.order_store import Batch, Change

_CLASSES: Final[dict[str, type]] = {kind.__name__: kind for kind in get_args(Change)}


def encode(batch: Batch) -> bytes:
    """Return a batch as one line of JSON."""
    head = {name.name: _plain(getattr(batch, name.name)) for name in fields(batch)}
    head["changes"] = [
        {"class": type(change).__name__, "fields": _plain(change)} for change in batch.changes
    ]
    return json.dumps(head, separators=(",", ":"), sort_keys=True).encode()


def decode(record: bytes) -> Batch:
    """Return the batch of a record. Raises WireInvalid where it is none."""
    try:
        data = json.loads(record)
        changes = [_built(_CLASSES[item["class"]], item["fields"]) for item in data["changes"]]
        data["changes"] = ()
        batch = _built(Batch, data)
    except (ValueError, LookupError, TypeError, ArithmeticError) as error:
        raise WireInvalid(f"not a batch: {error!r}", record=record[:200]) from error
    assert isinstance(batch, Batch)
    return Batch(
        batch.batch_id, batch.account, batch.run_id, batch.epoch, batch.at_ns, tuple(changes)
    )


def _plain(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return {name.name: _plain(getattr(value, name.name)) for name in fields(value)}
    if isinstance(value, Decimal):
        return str(value)
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    return value


def _built(kind: type, data: dict[str, Any]) -> Any:
    hints = get_type_hints(kind)
    assert is_dataclass(kind)
    return kind(**{item.name: _read(hints[item.name], data[item.name]) for item in fields(kind)})


def _read(hint: Any, value: Any) -> Any:
    origin = get_origin(hint)
    if origin is UnionType:
        if value is None:
            return None
        inner = next(item for item in get_args(hint) if item is not NoneType)
        return _read(inner, value)
    if origin is tuple:
        return tuple(_tuple_items(get_args(hint), value))
    if is_dataclass(hint) and isinstance(hint, type):
        return _built(hint, value)
    if isinstance(hint, type) and issubclass(hint, Decimal | Enum):
        make: Callable[[Any], Any] = hint
        return make(value)
    return value


def _tuple_items(args: tuple[Any, ...], value: list[Any]) -> list[Any]:
    if len(args) == 2 and args[1] is Ellipsis:
        return [_read(args[0], item) for item in value]
    return [_read(hint, item) for hint, item in zip(args, value, strict=True)]
