"""What would have been: years of history, honest grades, inside a memory budget.

Folders: data (bars: read, vetted, shared), layers (what looks at a stock before it is judged).
  one stock    pipeline, walkforward, rows, opinion, kernel, kernel_books, costs, metrics, grade
  its proof    verify, verify_engine, cutdata, plan_replay
  a run        scheduler_run, scheduler_wish, scheduler_spec, scheduler_queue, scheduler,
               scheduler_around, scheduler_budget, scheduler_pressure, scheduler_store
  workers      worker, worker_zygote, pool, cluster, memory, progress
  what stays   records, store, store_encoding, store_reads, store_regenerate
  for people   report, report_compare, report_explain
  to trading   scan, hand_over
"""
