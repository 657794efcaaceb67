"""The words of tradebox: frozen values and pure functions; no I/O, no clock, no async."""
