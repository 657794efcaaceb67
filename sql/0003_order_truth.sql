-- 0003: what the order gate remembers over restarts, commands with answers, broker capabilities,
-- corporate actions, reconcile reports, and what the console may see of them.

ALTER TABLE trade.account_day
    ADD COLUMN peak_usd      numeric,
    ADD COLUMN open_risk_usd numeric NOT NULL DEFAULT 0,
    ADD COLUMN stops_in_row  integer NOT NULL DEFAULT 0;

ALTER TABLE trade.command ADD COLUMN asked_by text NOT NULL DEFAULT '';
CREATE INDEX command_waiting ON trade.command (account, command_id) WHERE answer IS NULL;

-- What one account's gateway does where public evidence leaves it open. No row: unproven, and the
-- order path takes the safe way. found: the alternative that was seen, e.g. 'dies'.
CREATE TABLE trade.capability (
    account_id     text NOT NULL,
    gateway_build  text NOT NULL,
    name           text NOT NULL,
    found          text NOT NULL,
    is_proven      boolean NOT NULL,
    evidence       jsonb NOT NULL DEFAULT '{}',
    run_id         text NOT NULL DEFAULT '',
    found_at       timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (account_id, gateway_build, name)
);

-- Splits and dividends, by their ex-date.
CREATE TABLE trade.corporate_action (
    symbol         text NOT NULL,
    ex_day         date NOT NULL,
    kind           text NOT NULL CHECK (kind IN ('split', 'dividend')),
    amount         numeric NOT NULL CHECK (amount > 0),
    source         text NOT NULL,
    updated_at     timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (symbol, ex_day, kind)
);

CREATE VIEW console.denial AS
    SELECT denial_id, at_ns, account, plan_id, symbol, role, check_name, limit_text, observed,
           reason, recorded_at FROM trade.denial;
CREATE VIEW console.quarantine AS SELECT account, symbol, reason, since FROM trade.quarantine;
CREATE VIEW console.command AS
    SELECT command_id, account, kind, args, asked_by, created_at, deadline_at, consumed_at, answer
    FROM trade.command;
CREATE VIEW console.switch AS SELECT name, value, reason, updated_at FROM trade.switch;
CREATE VIEW console.capability AS
    SELECT account_id, gateway_build, name, found, is_proven, evidence, found_at
    FROM trade.capability;

GRANT SELECT, INSERT, UPDATE, DELETE ON trade.capability, trade.corporate_action TO trade_rw;
GRANT SELECT, INSERT, UPDATE ON trade.corporate_action TO research_rw;
GRANT SELECT ON console.denial, console.quarantine, console.command, console.switch,
    console.capability TO trade_rw, research_rw, console_ro;
