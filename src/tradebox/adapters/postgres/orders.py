"""The books of the order path in PostgreSQL.

Rules of this file:
- a batch is one transaction; it claims its id, and where that is known already nothing happens;
- what stands between a decision and its bytes (intents, notes), and the facts that come one by
  one, is one statement each, so one round trip and one commit;
- rows state absolute values; nothing is added up by UPDATE;
- a load is one snapshot of the database.
"""

from collections.abc import Callable
from datetime import date
from decimal import Decimal
from typing import Any, Final

from tradebox.adapters.postgres.batches import IF_NEW, Write, write_batch
from tradebox.adapters.postgres.intents import (
    intent_news,
    intent_statement,
    machine_text,
    plan_news,
)
from tradebox.adapters.postgres.pool import PgLane, PgPool
from tradebox.domain.orders import AccountName, OrderRole, OrderState, OrderType, Side, Tif
from tradebox.ports.order_store import (
    Batch,
    Change,
    CommissionSeen,
    DaySeen,
    DaySoFar,
    FillRow,
    FillSeen,
    IntentRefused,
    KnownOrder,
    LoadedBooks,
    Noted,
    OrderMoved,
    OrderRecorded,
    OrderRow,
    PermSeen,
    PlanMoved,
    PositionAdjusted,
    SymbolQuarantined,
    SymbolReleased,
)

_ROW_TYPES: Final = """
order_ref text, plan_id text, account text, account_id text, symbol text, con_id bigint, role text,
side text, quantity integer, order_type text, limit_price numeric, stop_price numeric, tif text,
parent_ref text, client_id integer, order_id bigint, state text, filled integer, run_id text,
epoch bigint, reason text
"""
_ROW: Final = ", ".join(part.split()[0] for part in _ROW_TYPES.split(","))
_ORDER: Final = f"""
INSERT INTO trade.broker_order ({_ROW})
SELECT {_ROW} FROM jsonb_to_recordset($1::jsonb) AS new({_ROW_TYPES})
WHERE {IF_NEW}
ON CONFLICT (order_ref) DO NOTHING
"""  # noqa: S608 - constants of this file
_MOVE: Final = f"""
UPDATE trade.broker_order
SET state = $2, filled = $3, quantity = $4, limit_price = $5, stop_price = $6,
    updated_at = clock_timestamp()
WHERE order_ref = $1 AND {IF_NEW}
"""  # noqa: S608 - constants of this file
_FILL: Final = f"""
INSERT INTO trade.fill (exec_stem, exec_id, order_ref, plan_id, account, perm_id, symbol, con_id,
    side, quantity, price, at_ns, run_id)
SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13 WHERE {IF_NEW}
ON CONFLICT (exec_stem) DO UPDATE
SET exec_id = excluded.exec_id, quantity = excluded.quantity, price = excluded.price
"""
_PERM: Final = f"""
INSERT INTO trade.order_perm (order_ref, perm_id) SELECT $1, $2 WHERE {IF_NEW}
ON CONFLICT DO NOTHING
"""
_COMMISSION: Final = f"""
UPDATE trade.fill SET commission_usd = $2, realised_usd = $3 WHERE exec_stem = $1 AND {IF_NEW}
"""  # noqa: S608 - constants of this file
_ADJUSTMENT: Final = f"""
INSERT INTO trade.adjustment (account, symbol, plan_id, quantity, reason)
SELECT $1, $2, $3, $4, $5 WHERE {IF_NEW}
"""
_QUARANTINE: Final = f"""
INSERT INTO trade.quarantine (account, symbol, reason) SELECT $1, $2, $3 WHERE {IF_NEW}
ON CONFLICT DO NOTHING
"""
_RELEASE: Final = f"""
DELETE FROM trade.quarantine WHERE account = $1 AND symbol = $2 AND {IF_NEW}
"""  # noqa: S608 - constants of this file
_DENIALS: Final = f"""
INSERT INTO trade.denial (at_ns, run_id, account, plan_id, symbol, role, check_name, limit_text,
    observed, reason)
SELECT $1, $2, $3, new.* FROM unnest($4::text[], $5::text[], $6::text[], $7::text[], $8::text[],
    $9::text[], $10::text[]) AS new
WHERE {IF_NEW}
"""  # noqa: S608 - constants of this file
_DAY: Final = f"""
INSERT INTO trade.account_day (account, day, net_liquidation_usd, realised_usd, rejects, peak_usd,
    open_risk_usd, stops_in_row)
SELECT $1, $2, $3, $4, $5, $6, $7, $8 WHERE {IF_NEW}
ON CONFLICT (account, day) DO UPDATE
SET realised_usd = excluded.realised_usd, rejects = excluded.rejects,
    peak_usd = excluded.peak_usd, open_risk_usd = excluded.open_risk_usd,
    stops_in_row = excluded.stops_in_row, updated_at = clock_timestamp()
"""
_SO_FAR: Final = """
SELECT today.net_liquidation_usd AS start_usd, today.stops_in_row, today.rejects,
       (SELECT peak_usd FROM trade.account_day
        WHERE account = $1 AND day <= $2 AND peak_usd IS NOT NULL
        ORDER BY day DESC LIMIT 1) AS peak_usd,
       EXISTS (SELECT FROM trade.fill AS f JOIN trade.broker_order AS o USING (order_ref)
               WHERE f.account = $1 AND o.role = 'entry' AND f.quantity > 0
               AND (to_timestamp(f.at_ns / 1e9) AT TIME ZONE 'America/New_York')::date < $2)
           AS has_traded_before
FROM (SELECT) AS one
LEFT JOIN trade.account_day AS today ON today.account = $1 AND today.day = $2
"""
_ORDERS_TO_LOAD: Final = """
SELECT o.*, coalesce(p.perm_ids, '{}') AS perm_ids,
       (SELECT max(e.at_ns) FROM trade.event AS e
        WHERE e.order_ref = o.order_ref AND e.kind IN ('order_intent', 'order_change'))
       AS placed_ns
FROM trade.broker_order AS o
LEFT JOIN (SELECT order_ref, array_agg(perm_id) AS perm_ids
           FROM trade.order_perm GROUP BY order_ref) AS p USING (order_ref)
WHERE o.account = $1 AND (
    o.state NOT IN ('filled', 'cancelled', 'rejected', 'expired', 'never_sent')
    OR o.created_at > clock_timestamp() - interval '8 days'
    OR o.plan_id IN (SELECT plan_id FROM trade.plan WHERE account = $1 AND closed_at IS NULL)
)
ORDER BY o.order_id, o.created_at
"""
_EARLIER: Final = """
SELECT symbol, sum(CASE side WHEN 'BUY' THEN quantity ELSE -quantity END)::integer AS quantity
FROM trade.fill
WHERE account = $1 AND NOT (order_ref = ANY ($2::text[]))
GROUP BY symbol
"""


class PgOrderStore:
    """OrderStore on a PgPool."""

    def __init__(self, pool: PgPool) -> None:
        self._pool = pool
        self._lane = PgLane(pool)

    async def commit(self, batch: Batch) -> None:
        """Write a batch in one transaction, once. Raises StoreUnavailable."""
        written = intent_statement(batch)
        if written is not None:
            async with self._lane.connection() as connection:
                await connection.execute(*written)
            return
        claim = _claim_of(batch)
        writes = [
            write(change, batch)
            for change in batch.changes
            if (write := _WRITERS.get(type(change))) is not None
        ]
        denials = _write_denials(batch)
        if denials is not None:
            writes.append(denials)
        async with self._lane.connection() as connection:
            await write_batch(connection, claim, writes)

    async def load(self, account: AccountName, client_id: int) -> LoadedBooks:
        """Return the books of an account. Raises StoreUnavailable."""
        name = account.value
        async with (
            self._pool.connection() as connection,
            connection.transaction(isolation="repeatable_read", readonly=True),
        ):
            orders = await connection.fetch(_ORDERS_TO_LOAD, name)
            refs = [row["order_ref"] for row in orders]
            fills = await connection.fetch(
                "SELECT * FROM trade.fill WHERE account = $1 AND order_ref = ANY ($2::text[])"
                " ORDER BY at_ns, booked_at, exec_stem",
                name,
                refs,
            )
            earlier = await connection.fetch(_EARLIER, name, refs)
            adjusted = await connection.fetch(
                "SELECT symbol, quantity, reason, plan_id FROM trade.adjustment WHERE account = $1",
                name,
            )
            quarantined = await connection.fetch(
                "SELECT symbol, reason FROM trade.quarantine WHERE account = $1", name
            )
            order_id_max = await connection.fetchval(
                "SELECT coalesce(max(order_id), 0) FROM trade.broker_order WHERE client_id = $1",
                client_id,
            )
            switches = await connection.fetch("SELECT name, value FROM trade.switch")
        moved = [PositionAdjusted(r["symbol"], r["quantity"], "earlier fills") for r in earlier]
        moved += [
            PositionAdjusted(r["symbol"], r["quantity"], r["reason"], r["plan_id"])
            for r in adjusted
        ]
        return LoadedBooks(
            orders=tuple(
                KnownOrder(_order_row(r), tuple(r["perm_ids"]), r["placed_ns"] or 0) for r in orders
            ),
            fills=tuple(_fill_row(row) for row in fills),
            with_commission=tuple(
                row["exec_id"] for row in fills if row["commission_usd"] is not None
            ),
            adjustments=tuple(moved),
            quarantined=tuple((row["symbol"], row["reason"]) for row in quarantined),
            order_id_max=order_id_max,
            switches={row["name"]: row["value"] for row in switches},
        )

    async def day_so_far(self, account: AccountName, day: str) -> DaySoFar:
        """Return what is known of an account on a market day. Raises StoreUnavailable."""
        async with self._pool.connection() as connection:
            row = await connection.fetchrow(_SO_FAR, account.value, date.fromisoformat(day))
        return DaySoFar(
            start_usd=row["start_usd"],
            peak_usd=row["peak_usd"],
            stops_in_row=row["stops_in_row"] or 0,
            rejects=row["rejects"] or 0,
            has_traded_before=row["has_traded_before"],
        )

    async def switches(self) -> dict[str, str]:
        """Return the switches that persons set, by name. Raises StoreUnavailable."""
        async with self._pool.connection() as connection:
            rows = await connection.fetch("SELECT name, value FROM trade.switch")
        return {row["name"]: row["value"] for row in rows}


def _claim_of(batch: Batch) -> tuple[Any, ...]:
    """Return the arguments of a batch's first statement."""
    notes = [note for change in batch.changes if (note := _event_of(change)) is not None]
    claim: tuple[Any, ...] = (
        batch.batch_id,
        batch.at_ns,
        batch.run_id,
        batch.epoch,
        batch.account.value,
        [note[0] for note in notes],
        [note[1] for note in notes],
        [note[2] for note in notes],
        [note[3] for note in notes],
        [note[4] for note in notes],
    )
    plans = [change for change in batch.changes if isinstance(change, PlanMoved)]
    assert len(plans) <= 1, "one state rides in a batch"
    if not plans:
        return *claim, None, None, None
    plan = plans[0]
    return *claim, plan.plan_id, plan.state.phase.value, machine_text(plan.state)


def _order_row(row: Any) -> OrderRow:
    return OrderRow(
        order_ref=row["order_ref"],
        plan_id=row["plan_id"],
        account=AccountName(row["account"]),
        account_id=row["account_id"],
        symbol=row["symbol"],
        con_id=row["con_id"],
        role=OrderRole(row["role"]),
        side=Side(row["side"]),
        quantity=row["quantity"],
        order_type=OrderType(row["order_type"]),
        limit_price=row["limit_price"],
        stop_price=row["stop_price"],
        tif=Tif(row["tif"]),
        parent_ref=row["parent_ref"],
        client_id=row["client_id"],
        order_id=row["order_id"],
        state=OrderState(row["state"]),
        filled=row["filled"],
        reason=row["reason"],
    )


def _fill_row(row: Any) -> FillRow:
    return FillRow(
        exec_stem=row["exec_stem"],
        exec_id=row["exec_id"],
        order_ref=row["order_ref"],
        plan_id=row["plan_id"],
        perm_id=row["perm_id"],
        symbol=row["symbol"],
        con_id=row["con_id"],
        side=Side(row["side"]),
        quantity=row["quantity"],
        price=row["price"],
        at_ns=row["at_ns"],
    )


Note = tuple[str, str | None, str | None, str | None, dict[str, Any]]
"""(kind, plan id, orderRef, symbol, data) of one event."""


def _event_of(change: Change) -> Note | None:
    """Return what the journal tells of a change; None of a state within the same phase."""
    if isinstance(change, PlanMoved):
        news = plan_news(change)
        return None if news is None else ("plan_state", change.plan_id, None, change.symbol, news)
    if isinstance(change, OrderRecorded):
        row = change.row
        return "order_intent", row.plan_id, row.order_ref, row.symbol, intent_news(change)
    if isinstance(change, FillSeen):
        fill = change.fill
        data = {
            "exec_id": fill.exec_id,
            "side": fill.side.value,
            "quantity": fill.quantity,
            "price": _text(fill.price),
            "event_ns": fill.at_ns,
        }
        return "fill_booked", fill.plan_id, fill.order_ref, fill.symbol, data
    if isinstance(change, Noted):
        return change.kind, change.plan_id, change.order_ref, change.symbol, dict(change.data)
    fields = {name: _plain(getattr(change, name)) for name in change.__slots__}
    plan_id, symbol = fields.pop("plan_id", None), fields.pop("symbol", None)
    order_ref = fields.pop("order_ref", None)
    return _KINDS[type(change)], plan_id, order_ref, symbol, fields


def _text(value: Decimal | None) -> str | None:
    return None if value is None else str(value)


def _plain(value: Any) -> Any:
    return str(value) if isinstance(value, Decimal) else value


_KINDS: Final[dict[type, str]] = {
    OrderMoved: "order_moved",
    PermSeen: "perm_seen",
    CommissionSeen: "commission_seen",
    PositionAdjusted: "position_adjusted",
    SymbolQuarantined: "symbol_quarantined",
    SymbolReleased: "symbol_released",
    IntentRefused: "intent_denied",
    DaySeen: "account_day",
}


def _values(row: OrderRow, batch: Batch) -> dict[str, Any]:
    """Return an order as columns of its table; a Decimal as text keeps its digits."""
    fields = {name: _plain(getattr(row, name)) for name in row.__slots__}
    return {**fields, "run_id": batch.run_id, "epoch": batch.epoch}


def _write_order(change: OrderRecorded, batch: Batch) -> Write:
    return Write(_ORDER, ([_values(change.row, batch)],), ("order", change.row.order_ref))


def _write_move(change: OrderMoved, _batch: Batch) -> Write:
    values = (
        change.order_ref,
        change.state.value,
        change.filled,
        change.quantity,
        change.limit_price,
        change.stop_price,
    )
    return Write(_MOVE, values, ("order", change.order_ref))


def _write_perm(change: PermSeen, _batch: Batch) -> Write:
    return Write(
        _PERM,
        (change.order_ref, change.perm_id),
        ("perm", change.order_ref, str(change.perm_id)),
    )


def _write_fill(change: FillSeen, batch: Batch) -> Write:
    fill = change.fill
    values = (
        fill.exec_stem,
        fill.exec_id,
        fill.order_ref,
        fill.plan_id,
        batch.account.value,
        fill.perm_id,
        fill.symbol,
        fill.con_id,
        fill.side.value,
        fill.quantity,
        fill.price,
        fill.at_ns,
        batch.run_id,
    )
    return Write(_FILL, values, ("fill", fill.exec_stem))


def _write_commission(change: CommissionSeen, _batch: Batch) -> Write:
    values = (change.exec_stem, change.commission_usd, change.realised_usd)
    return Write(_COMMISSION, values, ("fill", change.exec_stem))


def _write_adjustment(change: PositionAdjusted, batch: Batch) -> Write:
    values = (batch.account.value, change.symbol, change.plan_id, change.quantity, change.reason)
    return Write(_ADJUSTMENT, values)


def _write_quarantine(change: SymbolQuarantined, batch: Batch) -> Write:
    values = (batch.account.value, change.symbol, change.reason)
    return Write(_QUARANTINE, values, ("quarantine", change.symbol))


def _write_release(change: SymbolReleased, batch: Batch) -> Write:
    return Write(_RELEASE, (batch.account.value, change.symbol), ("quarantine", change.symbol))


def _write_denials(batch: Batch) -> Write | None:
    """Return the one write of all refusals in a batch: a storm of them must cost little."""
    refused = [
        (
            change.plan_id,
            change.symbol,
            change.role.value,
            change.check,
            change.limit,
            change.observed,
            change.reason,
        )
        for change in batch.changes
        if isinstance(change, IntentRefused)
    ]
    if not refused:
        return None
    columns = map(list, zip(*refused, strict=True))
    return Write(_DENIALS, (batch.at_ns, batch.run_id, batch.account.value, *columns))


def _write_day(change: DaySeen, batch: Batch) -> Write:
    values = (
        batch.account.value,
        date.fromisoformat(change.day),
        change.net_liquidation_usd,
        change.realised_usd,
        change.rejects,
        change.peak_usd,
        change.open_risk_usd,
        change.stops_in_row,
    )
    return Write(_DAY, values, ("day", change.day))


_WRITERS: Final[dict[type, Callable[[Any, Batch], Write]]] = {
    OrderRecorded: _write_order,
    OrderMoved: _write_move,
    PermSeen: _write_perm,
    FillSeen: _write_fill,
    CommissionSeen: _write_commission,
    PositionAdjusted: _write_adjustment,
    SymbolQuarantined: _write_quarantine,
    SymbolReleased: _write_release,
    DaySeen: _write_day,
}
