-- 0001: the journal, the books, plans, market reference data, and the views the console may read.
-- Roles trade_rw, research_rw and console_ro exist already (made by the starter or the owner).

CREATE SCHEMA trade;
CREATE SCHEMA research;
CREATE SCHEMA console;

-- One row per `tradebox run`. boot_epoch rises over every start of a home.
CREATE TABLE trade.run (
    run_id        text PRIMARY KEY,
    boot_epoch    bigint NOT NULL,
    profile       text NOT NULL CHECK (profile IN ('sim', 'paper', 'live')),
    version       text NOT NULL,
    started_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    ended_at      timestamptz
);

-- The append-only truth. at_ns is market time.
CREATE TABLE trade.event (
    seq           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    recorded_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    at_ns         bigint NOT NULL,
    run_id        text NOT NULL,
    epoch         bigint NOT NULL,
    kind          text NOT NULL,
    account       text,
    plan_id       text,
    order_ref     text,
    symbol        text,
    data          jsonb NOT NULL DEFAULT '{}'
);
CREATE INDEX event_plan ON trade.event (plan_id, seq) WHERE plan_id IS NOT NULL;
CREATE INDEX event_order ON trade.event (order_ref, seq) WHERE order_ref IS NOT NULL;

CREATE FUNCTION trade.refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'trade.% is append-only', TG_TABLE_NAME USING ERRCODE = 'restrict_violation';
END $$;
CREATE TRIGGER event_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON trade.event
    FOR EACH STATEMENT EXECUTE FUNCTION trade.refuse_change();

CREATE TABLE trade.instrument (
    symbol           text PRIMARY KEY,
    con_id           bigint NOT NULL UNIQUE,
    primary_exchange text NOT NULL,
    currency         text NOT NULL,
    increment        numeric NOT NULL CHECK (increment > 0),
    name             text NOT NULL,
    source           text NOT NULL,
    updated_at       timestamptz NOT NULL DEFAULT clock_timestamp()
);

CREATE TABLE trade.bar (
    symbol        text NOT NULL,
    interval_s    integer NOT NULL CHECK (interval_s > 0),
    end_ns        bigint NOT NULL,
    open          numeric NOT NULL CHECK (open > 0),
    high          numeric NOT NULL,
    low           numeric NOT NULL CHECK (low > 0),
    close         numeric NOT NULL,
    volume        bigint NOT NULL CHECK (volume >= 0),
    source        text NOT NULL,
    PRIMARY KEY (symbol, interval_s, end_ns),
    CHECK (high >= greatest(open, close) AND low <= least(open, close))
);

-- Regular hours per venue and day, written by the pandas worker; [open_ns, close_ns).
CREATE TABLE trade.session (
    venue           text NOT NULL,
    day             date NOT NULL,
    open_ns         bigint NOT NULL,
    close_ns        bigint NOT NULL CHECK (close_ns > open_ns),
    is_early_close  boolean NOT NULL,
    PRIMARY KEY (venue, day)
);

CREATE TABLE trade.plan (
    plan_id        text PRIMARY KEY,
    account        text NOT NULL CHECK (account IN ('paper', 'live')),
    symbol         text NOT NULL,
    side           text NOT NULL CHECK (side IN ('BUY', 'SELL')),
    -- requested -> armed -> entering -> open -> exiting -> closed | cancelled | refused
    state          text NOT NULL,
    version        integer NOT NULL,
    is_demo        boolean NOT NULL DEFAULT false,
    machine        jsonb,
    created_at     timestamptz NOT NULL DEFAULT clock_timestamp(),
    updated_at     timestamptz NOT NULL DEFAULT clock_timestamp(),
    closed_at      timestamptz,
    close_reason   text
);
CREATE INDEX plan_active ON trade.plan (account) WHERE closed_at IS NULL;

CREATE TABLE trade.plan_version (
    plan_id        text NOT NULL REFERENCES trade.plan,
    version        integer NOT NULL,
    document       jsonb NOT NULL,
    author         text NOT NULL,
    created_at     timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (plan_id, version)
);

CREATE TABLE trade.plan_step (
    plan_id        text NOT NULL REFERENCES trade.plan,
    step_no        integer NOT NULL,
    run_id         text NOT NULL,
    kind           text NOT NULL CHECK (kind IN
                   ('entry', 'break_even', 'move_stop', 'scale_out', 'trail', 'exit')),
    price          numeric NOT NULL,
    quantity       integer,
    source         text NOT NULL,
    at_ns          bigint NOT NULL,
    reason         text NOT NULL,
    evidence       jsonb NOT NULL DEFAULT '{}',
    recorded_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (plan_id, step_no)
);

-- A request of a person to a controller: consumed once, answered, with a deadline.
CREATE TABLE trade.command (
    command_id     bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    account        text NOT NULL,
    kind           text NOT NULL,
    args           jsonb NOT NULL DEFAULT '{}',
    created_at     timestamptz NOT NULL DEFAULT clock_timestamp(),
    deadline_at    timestamptz NOT NULL,
    consumed_at    timestamptz,
    answer         jsonb
);

-- An intent is committed here before its bytes leave. order_id is a wire detail.
CREATE TABLE trade.broker_order (
    order_ref      text PRIMARY KEY,
    plan_id        text NOT NULL,
    account        text NOT NULL,
    account_id     text NOT NULL,
    symbol         text NOT NULL,
    con_id         bigint NOT NULL,
    role           text NOT NULL CHECK (role IN ('entry', 'stop', 'slice', 'exit')),
    side           text NOT NULL CHECK (side IN ('BUY', 'SELL')),
    quantity       integer NOT NULL CHECK (quantity > 0),
    order_type     text NOT NULL,
    limit_price    numeric,
    stop_price     numeric,
    tif            text NOT NULL,
    parent_ref     text,
    client_id      integer NOT NULL,
    order_id       bigint NOT NULL,
    state          text NOT NULL,
    filled         integer NOT NULL DEFAULT 0,
    run_id         text NOT NULL,
    epoch          bigint NOT NULL,
    reason         text NOT NULL DEFAULT '',
    created_at     timestamptz NOT NULL DEFAULT clock_timestamp(),
    updated_at     timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX broker_order_live ON trade.broker_order (account)
    WHERE state NOT IN ('filled', 'cancelled', 'rejected', 'expired', 'never_sent');
CREATE INDEX broker_order_plan ON trade.broker_order (plan_id);

-- Batches of the order path that are in: a batch committed twice changes nothing.
CREATE TABLE trade.batch (
    batch_id       text PRIMARY KEY,
    recorded_at    timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- orderRef -> permId is one to many: two live permIds of one orderRef are a forked order.
CREATE TABLE trade.order_perm (
    order_ref      text NOT NULL REFERENCES trade.broker_order,
    perm_id        bigint NOT NULL,
    first_seen_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (order_ref, perm_id)
);

-- Executions by stem (exec_id without its last segment); a correction replaces, a bust reverses.
CREATE TABLE trade.fill (
    exec_stem      text PRIMARY KEY,
    exec_id        text NOT NULL,
    order_ref      text NOT NULL,
    plan_id        text,
    account        text NOT NULL,
    perm_id        bigint NOT NULL,
    symbol         text NOT NULL,
    con_id         bigint NOT NULL,
    side           text NOT NULL CHECK (side IN ('BUY', 'SELL')),
    quantity       integer NOT NULL,
    price          numeric NOT NULL,
    at_ns          bigint NOT NULL,
    commission_usd numeric,
    realised_usd   numeric,
    run_id         text NOT NULL,
    booked_at      timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX fill_account ON trade.fill (account, symbol);

-- A position the fills do not explain, entered by a person or by a reconcile with its reason.
CREATE TABLE trade.adjustment (
    adjustment_id  bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    account        text NOT NULL,
    symbol         text NOT NULL,
    plan_id        text,
    quantity       integer NOT NULL,
    reason         text NOT NULL,
    made_at        timestamptz NOT NULL DEFAULT clock_timestamp()
);

CREATE TABLE trade.denial (
    denial_id      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at_ns          bigint NOT NULL,
    run_id         text NOT NULL,
    account        text NOT NULL,
    plan_id        text NOT NULL,
    symbol         text NOT NULL,
    role           text NOT NULL,
    check_name     text NOT NULL,
    limit_text     text NOT NULL,
    observed       text NOT NULL,
    reason         text NOT NULL,
    recorded_at    timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- Why a symbol takes no entries: external order or position, forked order, unknown send.
CREATE TABLE trade.quarantine (
    account        text NOT NULL,
    symbol         text NOT NULL,
    reason         text NOT NULL,
    since          timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (account, symbol)
);

CREATE TABLE trade.account_day (
    account              text NOT NULL,
    day                  date NOT NULL,
    net_liquidation_usd  numeric NOT NULL,
    realised_usd         numeric NOT NULL DEFAULT 0,
    rejects              integer NOT NULL DEFAULT 0,
    updated_at           timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (account, day)
);

CREATE TABLE trade.switch (
    name           text PRIMARY KEY,
    value          text NOT NULL,
    reason         text NOT NULL DEFAULT '',
    updated_at     timestamptz NOT NULL DEFAULT clock_timestamp()
);

CREATE TABLE trade.tick_verdict (
    verdict_id     bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    symbol         text NOT NULL,
    source         text NOT NULL,
    check_name     text NOT NULL,
    verdict        text NOT NULL CHECK (verdict IN ('drop', 'hold', 'flag')),
    price_micros   bigint NOT NULL,
    event_ns       bigint NOT NULL,
    recorded_at    timestamptz NOT NULL DEFAULT clock_timestamp()
);

CREATE TABLE trade.alert (
    alert_id       bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at_ns          bigint NOT NULL,
    severity       text NOT NULL CHECK (severity IN ('info', 'warning', 'critical')),
    kind           text NOT NULL,
    text           text NOT NULL,
    account        text,
    symbol         text,
    fields         jsonb NOT NULL DEFAULT '{}',
    recorded_at    timestamptz NOT NULL DEFAULT clock_timestamp()
);

CREATE VIEW trade.position AS
    SELECT account, symbol, sum(quantity)::integer AS quantity
    FROM (SELECT account, symbol, CASE side WHEN 'BUY' THEN quantity ELSE -quantity END AS quantity
          FROM trade.fill
          UNION ALL
          SELECT account, symbol, quantity FROM trade.adjustment) AS moves
    GROUP BY account, symbol;

CREATE VIEW console.plan AS
    SELECT plan_id, account, symbol, side, state, version, is_demo, machine, created_at, updated_at,
           closed_at, close_reason FROM trade.plan;
CREATE VIEW console.plan_step AS
    SELECT plan_id, step_no, kind, price, quantity, source, at_ns, reason, recorded_at
    FROM trade.plan_step;
CREATE VIEW console.broker_order AS
    SELECT order_ref, plan_id, account, symbol, role, side, quantity, order_type, limit_price,
           stop_price, tif, order_id, state, filled, created_at, updated_at FROM trade.broker_order;
CREATE VIEW console.fill AS
    SELECT exec_id, order_ref, plan_id, account, symbol, side, quantity, price, at_ns,
           commission_usd, realised_usd, booked_at FROM trade.fill;
CREATE VIEW console.position AS SELECT account, symbol, quantity FROM trade.position;
CREATE VIEW console.alert AS
    SELECT alert_id, at_ns, severity, kind, text, account, symbol, recorded_at FROM trade.alert;
CREATE VIEW console.event AS
    SELECT seq, recorded_at, at_ns, epoch, kind, account, plan_id, order_ref, symbol, data
    FROM trade.event;
CREATE VIEW console.bar AS
    SELECT symbol, interval_s, end_ns, open, high, low, close, volume FROM trade.bar;
CREATE VIEW console.run AS
    SELECT run_id, boot_epoch, profile, version, started_at, ended_at FROM trade.run;

GRANT USAGE ON SCHEMA trade TO trade_rw;
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA trade TO trade_rw;
REVOKE UPDATE, DELETE ON trade.event FROM trade_rw;
GRANT USAGE ON SCHEMA console TO trade_rw, research_rw, console_ro;
GRANT SELECT ON ALL TABLES IN SCHEMA console TO trade_rw, research_rw, console_ro;
GRANT USAGE, CREATE ON SCHEMA research TO research_rw;
GRANT USAGE ON SCHEMA trade TO research_rw;
GRANT SELECT ON trade.bar, trade.instrument, trade.session TO research_rw;
