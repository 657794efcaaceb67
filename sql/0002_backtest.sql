-- 0002: backtests: runs, their queue of tasks, results, trades and equity, and what the console may
-- read of them. Arrays are stored as zlib-compressed little-endian bytes, one row per stock.

CREATE SCHEMA backtest;

CREATE TABLE backtest.run (
    run_id         text PRIMARY KEY,
    -- queued -> running -> done | stopped | failed; stopped and failed runs can be resumed
    state          text NOT NULL DEFAULT 'queued'
                   CHECK (state IN ('queued', 'running', 'done', 'stopped', 'failed')),
    seed           bigint NOT NULL,
    executor       text NOT NULL,
    strategies     text[] NOT NULL,
    universe       text NOT NULL,
    symbols        text[] NOT NULL,
    -- symbol -> why its data was refused before the run began
    refused        jsonb NOT NULL DEFAULT '{}',
    data_source    text NOT NULL,
    data_path      text NOT NULL,
    data_hash      text NOT NULL,
    code_hash      text NOT NULL,
    config         jsonb NOT NULL,
    -- what the run measured of itself: stage seconds, peak bytes, budget, wall seconds
    figures        jsonb NOT NULL DEFAULT '{}',
    run_hash       text,
    error          text NOT NULL DEFAULT '',
    created_at     timestamptz NOT NULL DEFAULT clock_timestamp(),
    started_at     timestamptz,
    finished_at    timestamptz,
    expires_at     timestamptz
);
CREATE INDEX run_created ON backtest.run (created_at);

CREATE TABLE backtest.task (
    run_id         text NOT NULL REFERENCES backtest.run ON DELETE CASCADE,
    batch_no       integer NOT NULL,
    symbols        text[] NOT NULL,
    -- queued -> running -> done | failed; split: replaced by smaller batches
    state          text NOT NULL DEFAULT 'queued'
                   CHECK (state IN ('queued', 'running', 'done', 'failed', 'split')),
    attempts       integer NOT NULL DEFAULT 0,
    owner          text NOT NULL DEFAULT '',
    error          text NOT NULL DEFAULT '',
    stage_seconds  jsonb NOT NULL DEFAULT '{}',
    peak_bytes     bigint NOT NULL DEFAULT 0,
    claimed_at     timestamptz,
    finished_at    timestamptz,
    PRIMARY KEY (run_id, batch_no)
);
CREATE INDEX task_open ON backtest.task (run_id, batch_no) WHERE state IN ('queued', 'running');

CREATE TABLE backtest.result (
    run_id         text NOT NULL REFERENCES backtest.run ON DELETE CASCADE,
    symbol         text NOT NULL,
    batch_no       integer NOT NULL,
    status         text NOT NULL CHECK (status IN ('ok', 'refused', 'failed', 'mismatch')),
    strategy       text NOT NULL,
    setting        jsonb NOT NULL,
    grade          text NOT NULL CHECK (grade IN ('A', 'B', 'C', 'D', 'F', '')),
    reasons        jsonb NOT NULL,
    metrics        jsonb NOT NULL,
    details        jsonb NOT NULL,
    trials         integer NOT NULL,
    is_verified    boolean,
    -- out of sample, beside metrics, so that a list needs no document
    trades         integer NOT NULL,
    expectancy_r   double precision,
    profit_factor  double precision,
    drawdown_r     double precision,
    sharpe         double precision,
    data_hash      text NOT NULL,
    result_hash    text NOT NULL,
    PRIMARY KEY (run_id, symbol)
);
CREATE INDEX result_batch ON backtest.result (run_id, batch_no);

-- orders and trades: the bytes of the structured arrays (their columns follow from layout), compressed.
CREATE TABLE backtest.trade (
    run_id         text NOT NULL REFERENCES backtest.run ON DELETE CASCADE,
    symbol         text NOT NULL,
    layout         smallint NOT NULL,
    order_count    integer NOT NULL,
    trade_count    integer NOT NULL,
    orders         bytea NOT NULL,
    trades         bytea NOT NULL,
    PRIMARY KEY (run_id, symbol)
);

-- days: int32 differences; equity: float32, byte planes; spark: at most 96 points for a small chart.
CREATE TABLE backtest.equity (
    run_id         text NOT NULL REFERENCES backtest.run ON DELETE CASCADE,
    symbol         text NOT NULL,
    layout         smallint NOT NULL,
    point_count    integer NOT NULL,
    first_day      date,
    last_day       date,
    days           bytea NOT NULL,
    equity         bytea NOT NULL,
    spark          real[] NOT NULL,
    PRIMARY KEY (run_id, symbol)
);
-- The bytes are compressed already.
ALTER TABLE backtest.trade ALTER orders SET STORAGE EXTERNAL, ALTER trades SET STORAGE EXTERNAL;
ALTER TABLE backtest.equity ALTER days SET STORAGE EXTERNAL, ALTER equity SET STORAGE EXTERNAL;

CREATE VIEW console.backtest_run AS
    SELECT r.run_id, r.state, r.universe, r.strategies, r.executor, r.seed, r.data_hash,
           r.code_hash, r.run_hash, r.error, r.created_at, r.started_at, r.finished_at,
           r.expires_at, r.figures,
           cardinality(r.symbols) AS symbol_count,
           (SELECT count(*) FROM backtest.task t
             WHERE t.run_id = r.run_id AND t.state <> 'split') AS task_count,
           (SELECT count(*) FROM backtest.task t
             WHERE t.run_id = r.run_id AND t.state IN ('done', 'failed')) AS task_ended,
           g.result_count, g.refused_count, g.failed_count, g.mismatch_count,
           g.grade_a, g.grade_b, g.grade_c, g.grade_d, g.grade_f
    FROM backtest.run r
    CROSS JOIN LATERAL (
        SELECT count(*) AS result_count,
               count(*) FILTER (WHERE status = 'refused') AS refused_count,
               count(*) FILTER (WHERE status = 'failed') AS failed_count,
               count(*) FILTER (WHERE status = 'mismatch') AS mismatch_count,
               count(*) FILTER (WHERE grade = 'A') AS grade_a,
               count(*) FILTER (WHERE grade = 'B') AS grade_b,
               count(*) FILTER (WHERE grade = 'C') AS grade_c,
               count(*) FILTER (WHERE grade = 'D') AS grade_d,
               count(*) FILTER (WHERE grade = 'F') AS grade_f
        FROM backtest.result s WHERE s.run_id = r.run_id) AS g;
CREATE VIEW console.backtest_result AS
    SELECT run_id, symbol, status, strategy, setting, grade, reasons, metrics, trials, is_verified,
           trades, expectancy_r, profit_factor, drawdown_r, sharpe, result_hash
    FROM backtest.result;
CREATE VIEW console.backtest_equity AS
    SELECT run_id, symbol, point_count, first_day, last_day, spark FROM backtest.equity;

GRANT USAGE ON SCHEMA backtest TO research_rw, trade_rw;
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA backtest TO research_rw;
-- The hand-over to trading reads grades and their expiry; it never writes them.
GRANT SELECT ON backtest.run, backtest.result TO trade_rw;
GRANT SELECT ON console.backtest_run, console.backtest_result, console.backtest_equity
    TO trade_rw, research_rw, console_ro;
