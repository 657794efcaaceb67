"""The simulator's own HTTP interface on loopback: look at it, and tell it to fail."""
