"""Commands, one small file each; they parse, call, print.

By what they are for:
  assembled    main; what they share: options, tables, asking, progress, build, bug
  a run        run, status, tree, tui, console, service, sim
  trading      plan, scan, ctl, adopt, reconcile, drill, gateway
  looking      quotes, books, why
  research     backtest, backtest_source, backtest_read, backtest_keep, data
  the home     config, db, completion
"""
