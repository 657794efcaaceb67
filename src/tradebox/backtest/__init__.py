"""What would have been: years of history, honest grades, inside a memory budget."""
