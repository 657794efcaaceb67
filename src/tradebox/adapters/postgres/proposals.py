"""Plans that strategies propose: stored, approved, withdrawn, and ended when their time is over.

Rules of this file:
- a proposal is a plan in state 'proposed': no controller takes it up before it is approved;
- an approval judges the stored run and result again, under a lock: what the proposal says of its
  grade counts for nothing;
- a live proposal needs a grade; PostgreSQL itself refuses one that moves on without an approval.

Public names: PgProposals, Graded.
"""

import datetime as dt
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

import asyncpg

from tradebox.adapters.postgres.plans import (
    PLAN_QUERY,
    PROPOSED,
    PgPlanStore,
    stored_plan,
    unknown_plan,
)
from tradebox.adapters.postgres.pool import PgPool
from tradebox.domain.orders import AccountName
from tradebox.domain.plan_document import PlanDocument, refusal
from tradebox.ports.plan_store import StoredPlan

SCAN: Final = "scan"
"""The author of what a strategy proposed."""

_EXPIRE = f"""
WITH old AS (
    UPDATE trade.plan SET state = 'cancelled', closed_at = clock_timestamp(),
        updated_at = clock_timestamp(), close_reason = 'nobody approved it in time'
    WHERE state = '{PROPOSED}' AND (proposal ->> 'until_ns')::bigint <= $1
    RETURNING plan_id, account, symbol
)
INSERT INTO trade.event (at_ns, run_id, epoch, kind, account, plan_id, symbol, data)
SELECT $1, '{SCAN}', 0, 'plan_state', account, plan_id, symbol,
       '{{"from": "{PROPOSED}", "to": "cancelled", "reason": "nobody approved it in time"}}'
FROM old
"""  # noqa: S608 - constants of this file
_MOVE = """
WITH moved AS (
    UPDATE trade.plan SET state = $2, updated_at = clock_timestamp(), close_reason = $3,
        closed_at = CASE WHEN $2 = 'cancelled' THEN clock_timestamp() END,
        approved_at = CASE WHEN $2 = 'requested' THEN clock_timestamp() END,
        approved_by = CASE WHEN $2 = 'requested' THEN $6 END
    WHERE plan_id = $1 AND state = 'proposed'
    RETURNING plan_id, account, symbol
), told AS (
    INSERT INTO trade.event (at_ns, run_id, epoch, kind, account, plan_id, symbol, data)
    SELECT $4, $6, 0, $5, account, plan_id, symbol, $7 FROM moved
)
SELECT plan_id FROM moved
"""
_GRADE = """
SELECT s.grade, s.status, s.strategy, s.setting, r.state, r.expires_at,
       r.expires_at > clock_timestamp() AS is_valid
FROM backtest.run r JOIN backtest.result s USING (run_id)
WHERE r.run_id = $1 AND s.symbol = $2
"""


@dataclass(frozen=True, slots=True)
class Graded:
    """What a proposal stands on, as it is stored now."""

    run_id: str
    grade: str
    expires_at: dt.datetime | None


class PgProposals:
    """Proposals, for the command line."""

    def __init__(self, pool: PgPool) -> None:
        self._pool = pool
        self._plans = PgPlanStore(pool, SCAN, 0)

    async def open_plans(self, account: AccountName) -> tuple[StoredPlan, ...]:
        """Return every plan and proposal of an account that has not ended, oldest first."""
        async with self._pool.connection() as connection:
            rows = await connection.fetch(
                f"{PLAN_QUERY} WHERE p.account = $1 AND p.closed_at IS NULL"
                " ORDER BY p.created_at, p.plan_id",
                account,
            )
        return tuple(stored_plan(row) for row in rows)

    async def net_liquidation_usd(self, account: AccountName) -> Decimal | None:
        """Return the newest known value of an account."""
        async with self._pool.connection() as connection:
            value = await connection.fetchval(
                "SELECT net_liquidation_usd FROM trade.account_day WHERE account = $1"
                " ORDER BY day DESC LIMIT 1",
                account,
            )
        return None if value is None else Decimal(value)

    async def expire(self, now_ns: int) -> None:
        """End the proposals whose session is over."""
        async with self._pool.connection() as connection:
            await connection.execute(_EXPIRE, now_ns)

    async def propose(
        self,
        document: PlanDocument,
        account: AccountName,
        proposal: Mapping[str, Any],
        *,
        now_ns: int,
        is_armed: bool,
    ) -> str | None:
        """Store a proposal, armed at once or waiting; None where it was made before.

        Raises:  AssertionError for a live one that would not wait; StoreUnavailable.
        """
        assert not (is_armed and account is AccountName.LIVE), "live waits for an approval"
        try:
            return await self._plans.request_plan(
                document, account, now_ns=now_ns, author=SCAN, proposal=proposal,
                waits=not is_armed,
            )  # fmt: skip
        except asyncpg.UniqueViolationError:
            return None

    async def leave(self, plan_id: str, account: AccountName, reason: str, from_ns: int) -> int:
        """Ask for a plan's end from an instant on, once; return the command's id."""
        async with self._pool.connection() as connection:
            known = await connection.fetchval(
                "SELECT command_id FROM trade.command WHERE account = $1 AND kind = 'cancel_plan'"
                " AND consumed_at IS NULL AND args ->> 'plan_id' = $2 LIMIT 1",
                account,
                plan_id,
            )
        if known is not None:
            return int(known)
        return await self._plans.cancel_request(plan_id, reason, account, from_ns=from_ns)

    async def withdraw(self, plan_id: str, account: AccountName, now_ns: int) -> bool:
        """Cancel a proposal; False where the plan is none of this account."""
        reason = "cancelled by a person"
        told = {"from": PROPOSED, "to": "cancelled", "reason": reason}
        async with self._pool.connection() as connection, connection.transaction():
            owner = await connection.fetchval(
                "SELECT account FROM trade.plan WHERE plan_id = $1 FOR UPDATE", plan_id
            )
            if owner != account:
                return False
            moved = await connection.fetchval(
                _MOVE, plan_id, "cancelled", reason, now_ns, "plan_state", "command-line", told
            )
        return moved is not None

    async def approve(
        self, plan_id: str, letters: Collection[str], *, now_ns: int, by: str
    ) -> tuple[StoredPlan, Graded | None]:
        """Let a proposal go to its controller; return it with the grade it stands on.

        letters: the grades a live plan may have.
        Raises:  NotRunning where there is none; PlanInvalid where it may not be approved.
        """
        async with self._pool.connection() as connection, connection.transaction():
            row = await connection.fetchrow(
                f"{PLAN_QUERY} WHERE p.plan_id = $1 FOR UPDATE OF p", plan_id
            )
            if row is None:
                raise unknown_plan(plan_id)
            plan = stored_plan(row)
            if plan.state != PROPOSED:
                problem = f"it is {plan.state} and waits for no approval"
                if plan.origin == "manual":
                    problem += " (manual: no grade is asked of it)"
                raise refusal("plan", plan_id, problem, "see `tradebox plan list`")
            proposal = plan.proposal or {}
            if int(proposal.get("until_ns", 0)) <= now_ns:
                raise refusal("plan", plan_id, "its session is over", "run `tradebox scan` again")
            graded = await self._graded(connection, plan)
            if plan.account is AccountName.LIVE:
                _may_be_live(plan, graded, letters)
            told = {
                "by": by,
                "run_id": str(proposal.get("run_id", "")),
                "grade": "" if graded is None else graded.grade,
                "expires_at": str(graded.expires_at) if graded else "",
            }
            await connection.fetchval(
                _MOVE, plan_id, "requested", None, now_ns, "plan_approved", by, told
            )
        return plan, graded

    async def _graded(self, connection: Any, plan: StoredPlan) -> Graded | None:
        """Return the valid grade behind a proposal: the same setting, of a finished run."""
        proposal = plan.proposal or {}
        run_id = str(proposal.get("run_id", ""))
        row = await connection.fetchrow(_GRADE, run_id, plan.symbol)
        if row is None or row["state"] != "done" or row["status"] != "ok" or not row["is_valid"]:
            return None
        same = (row["strategy"], row["setting"]) == (
            proposal.get("strategy"),
            proposal.get("setting"),
        )
        return Graded(run_id, row["grade"], row["expires_at"]) if same else None


def _may_be_live(plan: StoredPlan, graded: Graded | None, letters: Collection[str]) -> None:
    """Refuse a live proposal without a valid grade. Raises PlanInvalid."""
    if graded is None:
        problem = "its grade is unknown, expired or of another setting; live needs a valid one"
        raise refusal("plan", plan.plan_id, problem, "run `tradebox backtest run`, then scan again")
    if graded.grade not in letters:
        problem = f"its grade is {graded.grade or 'none'}; live needs {', '.join(sorted(letters))}"
        raise refusal("plan", plan.plan_id, problem, "trade it on paper, or change live.grade_min")
