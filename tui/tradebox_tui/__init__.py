"""The tradebox console: view-only, keyboard-driven."""
