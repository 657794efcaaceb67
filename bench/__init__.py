"""Measures every figure that the README quotes; `make bench` runs it."""
