"""Who lives: shells with a mailbox around the logic."""
