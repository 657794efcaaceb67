"""Plans in PostgreSQL.

Rules of this file:
- a save is one statement, so one round trip and one commit: plan, steps and journal together;
- a step that is there already is not written, nor told to the journal, a second time.
"""

from collections.abc import Callable, Collection, Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Final

from tradebox.adapters.postgres.pool import PgPool
from tradebox.domain.orders import AccountName, Side
from tradebox.domain.path import Evidence
from tradebox.domain.plan_document import PlanDocument
from tradebox.domain.plan_state import PlanState, state_to_json
from tradebox.domain.plan_turn import StepTaken
from tradebox.errors import NotRunning, PlanInvalid, StoreUnavailable
from tradebox.ports.plan_store import (
    CancelCommand,
    PlanFillRow,
    PlanOrderRow,
    PlanStory,
    StepRow,
    StoredPlan,
)

CANCEL_KIND: Final = "cancel_plan"
CANCEL_DEADLINE: Final = "7 days"
ID_TRIES_MAX: Final = 50
PROPOSED: Final = "proposed"
"""The state of a plan that waits for an approval: no controller takes it up."""
REQUESTED: Final = {False: "requested", True: PROPOSED}

PLAN_QUERY: Final = """
SELECT p.plan_id, p.account, p.symbol, p.side, p.state, p.version, p.is_demo, v.document,
       p.machine, p.created_at, p.closed_at, p.close_reason, p.origin, p.proposal, p.approved_at
FROM trade.plan p JOIN trade.plan_version v USING (plan_id, version)
"""
_NUMBER = """
SELECT coalesce(max(split_part(plan_id, '-', 2)::integer), 0) + 1 FROM trade.plan
WHERE plan_id LIKE $1 || '-%'
"""
_INSERT = """
WITH new AS (
    INSERT INTO trade.plan (plan_id, account, symbol, side, state, version, is_demo, machine,
                            origin, proposal)
    VALUES ($1, $2, $3, $4, $11, 1, $5, $12,
            CASE WHEN $13::jsonb IS NULL THEN 'manual' ELSE 'strategy' END, $13)
    ON CONFLICT (plan_id) DO NOTHING
    RETURNING plan_id
), written AS (
    INSERT INTO trade.plan_version (plan_id, version, document, author)
    SELECT plan_id, 1, $6, $7 FROM new
), told AS (
    INSERT INTO trade.event (at_ns, run_id, epoch, kind, account, plan_id, symbol, data)
    SELECT $8, $9, $10, CASE WHEN $11 = 'proposed' THEN 'plan_proposed' ELSE 'plan_requested' END,
           $2, plan_id, $3,
           CASE WHEN $13::jsonb IS NULL THEN $6::jsonb ELSE
               $6::jsonb || jsonb_build_object('proposal', $13::jsonb) END
    FROM new
)
SELECT plan_id FROM new
"""
_SAVE = """
WITH old AS (
    SELECT plan_id, state, account, symbol FROM trade.plan WHERE plan_id = $1 FOR UPDATE
), moved AS (
    UPDATE trade.plan SET
        state = $2, machine = $3, updated_at = clock_timestamp(), close_reason = $5,
        closed_at = CASE WHEN $4 THEN coalesce(closed_at, clock_timestamp()) END
    WHERE plan_id = $1
), steps AS (
    INSERT INTO trade.plan_step
        (plan_id, step_no, run_id, kind, price, quantity, source, at_ns, reason, evidence)
    SELECT old.plan_id, s.step_no, $7, s.kind, s.price, s.quantity, s.source, s.at_ns, s.reason,
           s.evidence
    FROM old, unnest($9::integer[], $10::text[], $11::numeric[], $12::integer[], $13::text[],
                     $14::bigint[], $15::text[], $16::jsonb[])
        AS s(step_no, kind, price, quantity, source, at_ns, reason, evidence)
    ON CONFLICT (plan_id, step_no) DO NOTHING
    RETURNING step_no, kind, price, quantity, source, at_ns, reason, evidence
)
INSERT INTO trade.event (at_ns, run_id, epoch, kind, account, plan_id, symbol, data)
SELECT at_ns, $7, $8, kind, account, plan_id, symbol, data FROM (
    SELECT 0 AS part, steps.step_no AS place, steps.at_ns, 'plan_step' AS kind, old.account,
           old.plan_id, old.symbol,
           jsonb_build_object('step_no', steps.step_no, 'kind', steps.kind, 'price', steps.price,
               'quantity', steps.quantity, 'source', steps.source, 'reason', steps.reason,
               'evidence', steps.evidence) AS data
    FROM steps, old
    UNION ALL
    SELECT 1, 0, $6, 'plan_state', old.account, old.plan_id, old.symbol,
           jsonb_build_object('from', old.state, 'to', $2::text, 'reason', $5::text)
    FROM old WHERE old.state <> $2
) AS news ORDER BY part, place
"""
_CANCEL = f"""
INSERT INTO trade.command (account, kind, args, deadline_at)
SELECT account, '{CANCEL_KIND}',
       jsonb_build_object('plan_id', plan_id, 'reason', $2::text, 'from_ns', $4::bigint),
       clock_timestamp() + interval '{CANCEL_DEADLINE}'
FROM trade.plan WHERE plan_id = $1 AND closed_at IS NULL AND ($3::text IS NULL OR account = $3)
RETURNING command_id
"""  # noqa: S608 - two constants of this file
_CANCELS = """
WITH late AS (
    UPDATE trade.command
    SET consumed_at = clock_timestamp(), answer = '{"done": false, "why": "late"}'
    WHERE account = $1 AND kind = $2 AND consumed_at IS NULL
      AND deadline_at <= statement_timestamp()
)
SELECT command_id, args FROM trade.command
WHERE account = $1 AND kind = $2 AND consumed_at IS NULL AND deadline_at > statement_timestamp()
ORDER BY command_id LIMIT 100
"""


class PgPlanStore:
    """PlanStore on a PgPool; run_id and epoch mark what this run writes."""

    def __init__(self, pool: PgPool, run_id: str, epoch: int) -> None:
        self._pool = pool
        self._run_id = run_id
        self._epoch = epoch

    async def request_plan(
        self,
        document: PlanDocument,
        account: AccountName,
        *,
        now_ns: int,
        author: str,
        is_demo: bool = False,
        opened: Callable[[str], PlanState] | None = None,
        proposal: Mapping[str, Any] | None = None,
        waits: bool = False,
    ) -> str:
        """Store a checked document as a plan to be armed, or open already; return its id.

        proposal: what a strategy's plan was proposed on. waits: it waits for an approval.
        """
        day = (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=now_ns // 1000)).date()
        prefix = f"{day:%Y%m%d}"
        name = "".join(c for c in document.symbol if c.isalnum())
        async with self._pool.connection() as connection:
            number = await connection.fetchval(_NUMBER, prefix)
            for offset in range(ID_TRIES_MAX):
                wanted = f"{prefix}-{number + offset:04d}-{name}"
                state = None if opened is None else opened(wanted)
                plan_id = await connection.fetchval(
                    _INSERT,
                    wanted,
                    account,
                    document.symbol,
                    document.order_side,
                    is_demo,
                    document.to_json(),
                    author,
                    now_ns,
                    self._run_id,
                    self._epoch,
                    REQUESTED[waits] if state is None else state.phase.value,
                    None if state is None else state_to_json(state),
                    None if proposal is None else dict(proposal),
                )
                if plan_id is not None:
                    return str(plan_id)
        raise StoreUnavailable("no free plan id", prefix=prefix, tried=ID_TRIES_MAX)

    async def cancel_request(
        self, plan_id: str, reason: str, account: AccountName | None = None, *, from_ns: int = 0
    ) -> int:
        """Store a request to end a plan; raises NotRunning or PlanInvalid if it cannot end."""
        async with self._pool.connection() as connection:
            command_id = await connection.fetchval(_CANCEL, plan_id, reason, account, from_ns)
            if command_id is not None:
                return int(command_id)
            row = await connection.fetchrow(
                "SELECT account, state FROM trade.plan WHERE plan_id = $1", plan_id
            )
        if row is None or (account is not None and row["account"] != account):
            raise unknown_plan(plan_id)
        raise PlanInvalid(
            f"plan = {plan_id}: it has ended ({row['state']}); nothing is left to cancel",
            field="plan",
            value=plan_id,
            fix="list the active plans with `tradebox plan list`",
        )

    async def active_plans(
        self, account: AccountName, known: Collection[str] = ()
    ) -> tuple[StoredPlan, ...]:
        """Return the plans of an account that have not ended, but for the known ones."""
        async with self._pool.connection() as connection:
            rows = await connection.fetch(
                f"{PLAN_QUERY} WHERE p.account = $1 AND p.closed_at IS NULL"
                f" AND p.state <> '{PROPOSED}'"
                " AND p.plan_id <> ALL($2::text[]) ORDER BY p.created_at, p.plan_id",
                account,
                list(known),
            )
        return tuple(stored_plan(row) for row in rows)

    async def cancels(self, account: AccountName) -> tuple[CancelCommand, ...]:
        """Return the cancel requests that wait, oldest first; late ones are answered so."""
        async with self._pool.connection() as connection:
            rows = await connection.fetch(_CANCELS, account, CANCEL_KIND)
        return tuple(
            CancelCommand(
                row["command_id"],
                str(row["args"].get("plan_id", "")),
                str(row["args"].get("reason", "")),
                int(row["args"].get("from_ns", 0)),
            )
            for row in rows
        )

    async def answer(self, command_id: int, answer: Mapping[str, Any]) -> None:
        """Note what became of a request; only the first answer counts."""
        async with self._pool.connection() as connection:
            await connection.execute(
                "UPDATE trade.command SET consumed_at = clock_timestamp(), answer = $2"
                " WHERE command_id = $1 AND consumed_at IS NULL",
                command_id,
                dict(answer),
            )

    async def save(self, state: PlanState, steps: tuple[StepTaken, ...], now_ns: int) -> None:
        """Commit a machine and the steps it took, and tell the journal, all or nothing."""
        async with self._pool.connection() as connection:
            await connection.execute(
                _SAVE,
                state.plan_id,
                state.phase.value,
                state_to_json(state),
                state.phase.is_final,
                state.close_reason,
                now_ns,
                self._run_id,
                self._epoch,
                [step.step_no for step in steps],
                [step.kind.value for step in steps],
                [step.price for step in steps],
                [step.quantity for step in steps],
                [step.source for step in steps],
                [step.at_ns for step in steps],
                [step.reason for step in steps],
                [_evidence(step.evidence) for step in steps],
            )

    async def list_plans(
        self, account: AccountName | None = None, *, with_ended: bool = False, rows_max: int = 200
    ) -> tuple[StoredPlan, ...]:
        """Return plans, newest first."""
        async with self._pool.connection() as connection:
            rows = await connection.fetch(
                f"{PLAN_QUERY} WHERE ($1::text IS NULL OR p.account = $1)"
                " AND ($2 OR p.closed_at IS NULL)"
                " ORDER BY p.created_at DESC, p.plan_id DESC LIMIT $3",
                account,
                with_ended,
                rows_max,
            )
        return tuple(stored_plan(row) for row in rows)

    async def show_plan(self, plan_id: str) -> PlanStory:
        """Return a plan with steps, orders and fills. Raises NotRunning where there is none."""
        async with self._pool.connection() as connection:
            plan = await connection.fetchrow(f"{PLAN_QUERY} WHERE p.plan_id = $1", plan_id)
            if plan is None:
                raise unknown_plan(plan_id)
            steps = await connection.fetch(
                "SELECT step_no, kind, price, coalesce(quantity, 0) AS quantity, source, at_ns,"
                " reason, run_id FROM trade.plan_step WHERE plan_id = $1 ORDER BY step_no",
                plan_id,
            )
            orders = await connection.fetch(
                "SELECT order_ref, role, side, quantity, filled, order_type, limit_price,"
                " stop_price, tif, state, reason FROM trade.broker_order WHERE plan_id = $1"
                " ORDER BY created_at, order_ref",
                plan_id,
            )
            fills = await connection.fetch(
                "SELECT exec_id, order_ref, side, quantity, price, at_ns, commission_usd"
                " FROM trade.fill WHERE plan_id = $1 ORDER BY at_ns, exec_id",
                plan_id,
            )
        return PlanStory(
            stored_plan(plan),
            tuple(StepRow(**row) for row in steps),
            tuple(PlanOrderRow(**{**row, "side": Side(row["side"])}) for row in orders),
            tuple(PlanFillRow(**{**row, "side": Side(row["side"])}) for row in fills),
        )


def unknown_plan(plan_id: str) -> NotRunning:
    """Return the refusal of an id that no plan has."""
    return NotRunning(
        f"plan = {plan_id}: there is no such plan; list them with `tradebox plan list --all`",
        field="plan",
        value=plan_id,
    )


def stored_plan(row: Mapping[str, Any]) -> StoredPlan:
    """Return a row of PLAN_QUERY as a plan."""
    values = dict(row)
    values["account"] = AccountName(values["account"])
    values["side"] = Side(values["side"])
    values["close_reason"] = values["close_reason"] or ""
    return StoredPlan(**values)


def _evidence(evidence: Evidence | None) -> dict[str, Any]:
    if evidence is None:
        return {}
    price: Decimal = evidence.price
    return {
        "price": str(price),
        "source": evidence.source.value,
        "quality": evidence.quality.value,
        "event_ns": evidence.event_ns,
        "mono_ns": evidence.mono_ns,
        "mailbox_mono_ns": evidence.mailbox_mono_ns,
    }
