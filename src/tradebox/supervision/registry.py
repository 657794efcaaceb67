"""Names for actors: one live holder per name, free as soon as it has ended.

Rules of this file:
1. A name is unique; registering over a live holder raises.
2. A NamedRef resolves at each send, so it survives restarts.
"""

from __future__ import annotations

from typing import Any, Generic, TypeVar

from tradebox.supervision.errors import ActorDown, NameTaken
from tradebox.supervision.reasons import NoProc
from tradebox.supervision.ref import ActorRef

M = TypeVar("M")


class NamedRef(Generic[M]):
    """A name used as a reference; whoever holds the name now is told or asked."""

    __slots__ = ("_registry", "name")

    def __init__(self, registry: Registry, name: str) -> None:
        self._registry = registry
        self.name = name

    @property
    def alive(self) -> bool:
        """True while somebody holds the name."""
        return self._registry.whereis(self.name) is not None

    def tell(self, message: M) -> bool:
        """Tell the present holder; False when there is none, or it takes no more."""
        ref = self._registry.whereis(self.name)
        return ref is not None and ref.tell(message)

    async def ask(self, request: Any, timeout: float = 5.0) -> Any:
        """Ask the present holder.

        Raises: ActorDown when nobody holds the name; else as ActorRef.ask.
        """
        ref = self._registry.whereis(self.name)
        if ref is None:
            raise ActorDown(self.name, NoProc())
        return await ref.ask(request, timeout)


class Registry:
    """Who is called what.

    Holds: names are unique, and free after exit.
    """

    def __init__(self) -> None:
        self._refs: dict[str, ActorRef[Any]] = {}
        self._names: dict[ActorRef[Any], set[str]] = {}

    def register(self, name: str, ref: ActorRef[Any]) -> None:
        """Give `name` to a live actor.

        Raises: NameTaken when another live actor holds it; ActorDown when `ref` has ended.
        """
        holder = self._refs.get(name)
        if holder is not None and holder.alive and holder != ref:
            raise NameTaken(name, holder.name)
        if ref.reason is not None:
            raise ActorDown(ref.name, ref.reason)
        self.unregister(name)
        self._refs[name] = ref
        self._names.setdefault(ref, set()).add(name)

    def whereis(self, name: str) -> ActorRef[Any] | None:
        """Return the live holder of `name`."""
        ref = self._refs.get(name)
        return ref if ref is not None and ref.alive else None

    def unregister(self, name: str) -> None:
        """Free the name; harmless when nobody holds it."""
        ref = self._refs.pop(name, None)
        if ref is not None:
            names = self._names[ref]
            names.discard(name)
            if not names:
                del self._names[ref]

    def release(self, ref: ActorRef[Any]) -> None:
        """Free every name of an actor that has ended."""
        for name in self._names.pop(ref, ()):
            del self._refs[name]

    def names(self) -> list[str]:
        """Return the names in use, sorted."""
        return sorted(name for name, ref in self._refs.items() if ref.alive)

    def via(self, name: str) -> NamedRef[Any]:
        """Return a reference that resolves `name` at each send."""
        return NamedRef(self, name)
