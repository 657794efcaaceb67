"""Who lives: shells with a mailbox around the logic.

By what they are for:
  prices in    ingest, poller, feed, feed_slot, feed_monitor, admission, market_hub
  and out      publisher, bars, recorder, verdicts
  trading      order_link, reconciler, controller
  stores       journal, bus, store_keeper, claim_keeper, sessions, split_keeper, past_bars,
               timekeeper
  watching     redundancy, dashboard, dashboard_state, dashboard_lines, alerts, event_log, metrics,
               printer
"""
