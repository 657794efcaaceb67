-- 0005: what was refused of each symbol, newest first, for the console's login.

CREATE INDEX tick_verdict_symbol ON trade.tick_verdict (symbol, verdict_id DESC);

CREATE VIEW console.tick_verdict AS
    SELECT verdict_id, symbol, source, check_name, verdict, price_micros, event_ns, recorded_at
    FROM trade.tick_verdict;

GRANT SELECT ON console.tick_verdict TO trade_rw, research_rw, console_ro;
