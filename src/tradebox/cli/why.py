"""`tradebox why`: the chain behind an order, a plan or a symbol, from tick to stop move.

Rules of this file:
- the journal's rows in their order, one line each; with --json the rows as they are.
"""

import json as json_module
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from tradebox.cli.asking import with_pool
from tradebox.cli.options import HomeOption, JsonOption, print_json
from tradebox.config import find_home
from tradebox.errors import NotRunning

NS_PER_S = 1_000_000_000


def why(
    what: Annotated[str, typer.Argument(metavar="ORDER|PLAN|SYMBOL")],
    home: HomeOption = None,
    json: JsonOption = False,
) -> None:
    """Say why: tick with its source, rule, gate, order messages, fills, stop moves."""
    from tradebox.adapters.postgres.story import PgStory

    kind, rows = with_pool(find_home(home), lambda pool: PgStory(pool).why(what))
    if not kind:
        raise NotRunning(f"{what}: no plan, order or symbol of the journal has this name")
    if json:
        print_json({"what": what, "kind": kind, "chain": [link(row) for row in rows]})
        return
    for row in rows:
        shown = link(row)
        ref = f" [{shown['order_ref']}]" if shown["order_ref"] else ""
        print(f"{shown['at']} {shown['hop']:<7} {shown['text']}{ref}")


def link(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return one link of the chain: its hop (tick, rule, gate, order, fill, stop), its words."""
    data = dict(row["data"])
    hop, text = _WORDS.get(row["kind"], _other)(row["kind"], data)
    seconds, rest_ns = divmod(int(row["at_ns"]), NS_PER_S)
    at = datetime.fromtimestamp(seconds, tz=UTC)
    return {
        "seq": row["seq"],
        "at": f"{at:%Y-%m-%d %H:%M:%S}.{rest_ns // 1_000_000:03d}Z",
        "hop": hop,
        "kind": row["kind"],
        "plan_id": row["plan_id"],
        "order_ref": row["order_ref"],
        "text": text,
        "data": data,
    }


def _tick(evidence: Mapping[str, Any]) -> str:
    if not evidence:
        return "no price: time, a person or the broker"
    at_s = int(evidence.get("event_ns", 0)) / NS_PER_S
    moment = datetime.fromtimestamp(at_s, tz=UTC)
    return (
        f"tick {evidence.get('price')} from {evidence.get('source')}"
        f" ({evidence.get('quality')}, {moment:%H:%M:%S.%f}Z)"
    )


def _step(_kind: str, data: Mapping[str, Any]) -> tuple[str, str]:
    tick = _tick(data.get("evidence") or {})
    return "rule", f"{data['kind']} {data['quantity']} @ {data['price']}: {data['reason']}; {tick}"


def _intent(_kind: str, data: Mapping[str, Any]) -> tuple[str, str]:
    price = data.get("limit_price") or data.get("stop_price") or "market"
    seen = json_module.loads(data["evidence"]) if data.get("evidence") else {}
    tick = f"; {_tick(seen)}" if seen else ""
    checks = f" by {seen['checks']} checks" if seen.get("checks") else ""
    return "gate", (
        f"approved{checks}: {data['role']} {data['side']} {data['quantity']} {data['order_type']}"
        f" {price} {data['tif']}: {data['reason']}{tick}"
    )


def _denied(_kind: str, data: Mapping[str, Any]) -> tuple[str, str]:
    return "gate", (
        f"denied by {data['check']}: {data['reason']}"
        f" (limit {data['limit']}, observed {data['observed']})"
    )


def _moved(_kind: str, data: Mapping[str, Any]) -> tuple[str, str]:
    stop = f", stop {data['stop_price']}" if data.get("stop_price") else ""
    filled = f"{data['filled']}/{data['quantity']}"
    return "order", f"{data['state']} {filled}{stop}: {data['cause']}"


def _change(_kind: str, data: Mapping[str, Any]) -> tuple[str, str]:
    return "stop", f"change asked: {data.get('quantity')} @ {data.get('stop_price')}"


def _cancel(_kind: str, data: Mapping[str, Any]) -> tuple[str, str]:
    return "order", f"cancel asked: {data.get('reason')}"


def _fill(_kind: str, data: Mapping[str, Any]) -> tuple[str, str]:
    return "fill", f"{data['side']} {data['quantity']} @ {data['price']} ({data['exec_id']})"


def _commission(_kind: str, data: Mapping[str, Any]) -> tuple[str, str]:
    return "fill", f"commission {data.get('commission_usd')} USD ({data.get('exec_stem')})"


def _perm(_kind: str, data: Mapping[str, Any]) -> tuple[str, str]:
    return "order", f"the broker's permId {data.get('perm_id')}"


def _code(_kind: str, data: Mapping[str, Any]) -> tuple[str, str]:
    return "order", f"code {data.get('code')} ({data.get('class')}): {data.get('text')}"


def _state(_kind: str, data: Mapping[str, Any]) -> tuple[str, str]:
    reason = f": {data['reason']}" if data.get("reason") else ""
    return "plan", f"{data.get('from')} -> {data.get('to')}{reason}"


def _requested(_kind: str, data: Mapping[str, Any]) -> tuple[str, str]:
    return "plan", f"requested: {data.get('side')} {data.get('symbol')} {data.get('size')}"


def _proposed(_kind: str, data: Mapping[str, Any]) -> tuple[str, str]:
    reasons = "; ".join((data.get("proposal") or {}).get("reasons", ()))
    return (
        "plan",
        f"proposed: {data.get('side')} {data.get('symbol')} {data.get('size')}: {reasons}",
    )


def _approved(_kind: str, data: Mapping[str, Any]) -> tuple[str, str]:
    return "plan", f"approved by {data.get('by')}: grade {data.get('grade') or 'none'}"


def _other(kind: str, data: Mapping[str, Any]) -> tuple[str, str]:
    words = ", ".join(f"{name} {value}" for name, value in data.items())
    return "note", f"{kind}: {words}"


_WORDS = {
    "plan_step": _step,
    "order_intent": _intent,
    "intent_denied": _denied,
    "order_moved": _moved,
    "order_change": _change,
    "order_cancel": _cancel,
    "fill_booked": _fill,
    "commission_seen": _commission,
    "perm_seen": _perm,
    "broker_code": _code,
    "plan_state": _state,
    "plan_requested": _requested,
    "plan_proposed": _proposed,
    "plan_approved": _approved,
}
