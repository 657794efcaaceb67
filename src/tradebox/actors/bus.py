"""The actor stores.bus: keeps the engine's connection to Redis.

Rules of this file:
- Redis dead changes no decision: nobody waits for this actor.
"""

from tradebox.actors.store_keeper import StoreKeeper


class BusActor(StoreKeeper):
    """Keeps Redis; see StoreKeeper."""
