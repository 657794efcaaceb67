"""The outside: vendors, broker, stores."""
