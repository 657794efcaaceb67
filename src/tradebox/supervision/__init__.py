"""OTP in miniature for one asyncio process: actors, mailboxes, supervisors, epochs.

Rules of this package:
1. It knows no word of any business and could be published alone; its errors are its own.
2. Only `kernel.py` creates tasks, and every task has exactly one owner.
3. Time comes from an injected `Clock`; nothing here sleeps by itself.
4. What a restart does is decided by pure functions (`strategy`, `intensity`).
"""
