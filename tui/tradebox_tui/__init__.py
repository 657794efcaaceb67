"""The tradebox console: view-only, keyboard-driven."""

HUNG_UP = 129
"""Exit code of a console whose terminal is gone, or that was told so (128 + SIGHUP)."""
