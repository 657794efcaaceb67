-- 0006: what the sanity filter refused or flagged, in batches: counted where many are alike, with
-- the quality that was left, and an index by age for the deletion; splits that a calendar knows.

ALTER TABLE trade.tick_verdict
    ADD COLUMN quality        text NOT NULL DEFAULT 'suspect',
    ADD COLUMN first_event_ns bigint,
    ADD COLUMN ticks          integer NOT NULL DEFAULT 1 CHECK (ticks > 0);

CREATE INDEX tick_verdict_age ON trade.tick_verdict USING brin (recorded_at);

CREATE OR REPLACE VIEW console.tick_verdict AS
    SELECT verdict_id, symbol, source, check_name, verdict, price_micros, event_ns, recorded_at,
           quality, coalesce(first_event_ns, event_ns) AS first_event_ns, ticks
    FROM trade.tick_verdict;

CREATE TABLE trade.split (
    symbol      text NOT NULL,
    day         date NOT NULL,
    numerator   integer NOT NULL CHECK (numerator > 0),
    denominator integer NOT NULL CHECK (denominator > 0),
    source      text NOT NULL,
    recorded_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (symbol, day)
);

GRANT SELECT, INSERT, UPDATE, DELETE ON trade.split TO trade_rw;
