"""The words of tradebox: frozen values and pure functions; no I/O, no clock, no async.

By what they are for:
  values       market, orders, events, path, money, capabilities
  time         session, market_day, clock_map, gtc
  prices       tick_filter, filter_checks, filter_hold, filter_jump, filter_quotes, filter_sources,
               filter_values, luld, splits; staleness, tape, minute_bars, bar_check, indicators
  who serves   tiers, tier_values, breaker, feed_pair
  the gate     order_gate, gate_checks, gate_history, gate_market, gate_values, order_table
  plans        plan_document, plan_check, plan_levels, sizing, plan_machine, plan_turn, plan_facts,
               plan_state, plan_rows
"""
