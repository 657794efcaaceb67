"""tradebox: a supervised, single-box automated trading system."""
