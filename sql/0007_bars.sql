-- 0007: minute bars of the admitted prices, a partition a month, whole months dropped by retention.

CREATE TABLE trade.minute_bar (
    symbol        text NOT NULL,
    end_ns        bigint NOT NULL,
    open_micros   bigint NOT NULL CHECK (open_micros > 0),
    high_micros   bigint NOT NULL,
    low_micros    bigint NOT NULL CHECK (low_micros > 0),
    close_micros  bigint NOT NULL,
    volume        bigint NOT NULL CHECK (volume >= 0),
    ticks         integer NOT NULL CHECK (ticks > 0),
    source        text NOT NULL,
    is_partial    boolean NOT NULL,
    PRIMARY KEY (symbol, end_ns),
    CHECK (high_micros >= greatest(open_micros, close_micros)
           AND low_micros <= least(open_micros, close_micros))
) PARTITION BY RANGE (end_ns);

-- A month is that of the bar's end in UTC.
CREATE FUNCTION trade.make_minute_bar_month(at_ns bigint) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    first timestamp := date_trunc('month', to_timestamp(at_ns / 1000000000) AT TIME ZONE 'UTC');
    part  text := 'minute_bar_' || to_char(first, 'YYYY_MM');
BEGIN
    IF first < '2000-01-01' OR first >= '2100-01-01' THEN
        RAISE EXCEPTION 'no bar ends in %', to_char(first, 'YYYY-MM');
    END IF;
    PERFORM pg_advisory_xact_lock(hashtext('trade.minute_bar'));
    IF to_regclass('trade.' || part) IS NULL THEN
        EXECUTE format('CREATE TABLE trade.%I PARTITION OF trade.minute_bar'
                       ' FOR VALUES FROM (%s) TO (%s)', part,
                       extract(epoch FROM first)::bigint * 1000000000,
                       extract(epoch FROM first + interval '1 month')::bigint * 1000000000);
    END IF;
END $$;

CREATE FUNCTION trade.drop_minute_bar_months(before_ns bigint) RETURNS integer
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    part    text;
    dropped integer := 0;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtext('trade.minute_bar'));
    FOR part IN
        SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
        WHERE i.inhparent = 'trade.minute_bar'::regclass
    LOOP
        IF to_date(right(part, 7), 'YYYY_MM') + interval '1 month'
           <= to_timestamp(before_ns / 1000000000) AT TIME ZONE 'UTC' THEN
            EXECUTE format('DROP TABLE trade.%I', part);
            dropped := dropped + 1;
        END IF;
    END LOOP;
    RETURN dropped;
END $$;

REVOKE EXECUTE ON FUNCTION trade.make_minute_bar_month(bigint),
                           trade.drop_minute_bar_months(bigint) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION trade.make_minute_bar_month(bigint),
                          trade.drop_minute_bar_months(bigint) TO trade_rw;
GRANT SELECT, INSERT ON trade.minute_bar TO trade_rw;
GRANT SELECT ON trade.minute_bar TO research_rw;

CREATE VIEW console.minute_bar AS
    SELECT symbol, end_ns, open_micros, high_micros, low_micros, close_micros, volume, ticks, source,
           is_partial
    FROM trade.minute_bar;
GRANT SELECT ON console.minute_bar TO trade_rw, research_rw, console_ro;
