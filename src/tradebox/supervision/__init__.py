"""OTP in miniature for one asyncio process: actors, mailboxes, supervisors, epochs.

Rules of this package:
1. It knows no word of any business and could be published alone; its errors are its own.
2. Only `kernel.py` creates tasks, and every task has exactly one owner.
3. Time comes from an injected `Clock`; nothing here sleeps by itself.
4. What a restart does is decided by pure functions (`strategy`, `intensity`).

Inside the engine:
  an actor     actor, cell, mailbox, ref, registry, reasons, errors, events, budget, clock
  its parent   supervisor, dynamic, spec, strategy, intensity, requests, tree
  its keeper   kernel, checkin, gate, harm
The process around it:
  launcher     launcher, launch_options, launch_state, launch_errors, voice, terminal, output
  the engine   engine, engine_host, leash, link, preload, import_watch, postmortem, shm
  servers      servers, server_child, spawn, sdnotify
  plumbing     poller, lines, control, locks
"""
