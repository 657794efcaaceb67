"""Opinions about prices: pure functions on arrays, and the plan each of them proposes."""
