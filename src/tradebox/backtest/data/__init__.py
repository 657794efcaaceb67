"""Where the bars come from: read, vetted once, and shared as memory-mapped arrays."""
