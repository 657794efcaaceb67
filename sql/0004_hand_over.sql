-- 0004: plans proposed from graded settings: where a plan comes from, what it was proposed on, and
-- who approved it. A live plan of a strategy never leaves 'proposed' without an approval.

ALTER TABLE trade.plan
    -- manual: a person wrote it, and no grade is asked of it; strategy: `tradebox scan` proposed it
    ADD COLUMN origin      text NOT NULL DEFAULT 'manual' CHECK (origin IN ('manual', 'strategy')),
    -- run_id, strategy, setting, grade, bar_day, until_ns, reasons …
    ADD COLUMN proposal    jsonb,
    ADD COLUMN approved_at timestamptz,
    ADD COLUMN approved_by text,
    ADD CONSTRAINT plan_origin_told CHECK ((origin = 'manual') = (proposal IS NULL)),
    ADD CONSTRAINT plan_live_approved CHECK (
        account <> 'live' OR origin = 'manual' OR approved_at IS NOT NULL
        OR state IN ('proposed', 'cancelled', 'refused'));
CREATE UNIQUE INDEX plan_proposed_once
    ON trade.plan (account, symbol, (proposal ->> 'strategy'), (proposal ->> 'bar_day'))
    WHERE origin = 'strategy';

CREATE OR REPLACE VIEW console.plan AS
    SELECT plan_id, account, symbol, side, state, version, is_demo, machine, created_at, updated_at,
           closed_at, close_reason, origin, proposal, approved_at, approved_by FROM trade.plan;
