-- 0008: how often each vendor's key was asked, per day of the vendor: a restart forgets no call.

CREATE TABLE trade.vendor_quota (
    account        text NOT NULL,
    day            date NOT NULL,
    calls          integer NOT NULL CHECK (calls >= 0),
    updated_at     timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (account, day)
);

CREATE VIEW console.vendor_quota AS
    SELECT account, day, calls, updated_at FROM trade.vendor_quota;

GRANT SELECT, INSERT, UPDATE, DELETE ON trade.vendor_quota TO trade_rw;
GRANT SELECT ON console.vendor_quota TO trade_rw, research_rw, console_ro;
