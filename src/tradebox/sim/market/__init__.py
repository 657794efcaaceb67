"""The simulated market: real bars replayed as seeded ticks, on one clock for everybody."""
