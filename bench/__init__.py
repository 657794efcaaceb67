"""Measures every figure that the README quotes; `make bench` runs it.

of make bench     bench_orders, bench_price_path, bench_data, bench_feed, bench_restart,
                  bench_recovery, bench_reconcile, bench_takeover, bench_failover,
                  bench_isolation, bench_filter, bench_runtime, bench_sim, bench_console,
                  bench_backtest
longer, alone     soak, data_hour, honesty, layers, matrix, fault_matrix, vendor_faults,
                  slow_tests, kill_drill, variants, backtest_peers, console_picture
what they drive   live_run, plan_flow, order_desk, data_path, data_vendor, hang_engine,
                  fresh_start, pty_meter, loopback
what they read    machine, sampler, filter_data, filter_trial, drill_plans, drill_judge,
                  ledger_fold, uncovered
what is told      report
"""
