"""The stand-in world: one market, a TWS gateway, vendors, fault scripts."""
