"""Who acts: the only holder of the order port.

The way of an order, from a plan to the wire and back:
  plans        plan_runner, running_plan, plan_arming, plan_needs, plan_display, plan_recovery; demo
  the path     order_path, procedures, procedure_words, plan_orders, desk_round, path_world,
               path_views
  to the wire  order_sender, order_intents, buckets, pace, margins, kill_switch, send_times,
               order_link
  and back     intake, codes, order_book, order_copies, path_booking, record_keeper, record_codec
  the truth    reconcile, missing_shares, broker_view, path_recovery, coverage, by_hand, adoption
Around it:
  the account  identity, account_day, symbol_facts, daily, windows
  people       commands, alarms; drill, drill_steps, drill_ways
"""
