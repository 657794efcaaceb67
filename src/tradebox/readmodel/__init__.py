"""What may be seen: rows, schema versions, reader."""
