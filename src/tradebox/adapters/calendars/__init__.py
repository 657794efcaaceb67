"""The pandas worker: market hours from exchange_calendars, in a process of its own."""
