"""The composition root: picks adapters, writes the child specs, runs the launcher."""
