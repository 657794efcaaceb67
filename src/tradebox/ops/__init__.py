"""What the operating system is told about tradebox."""
