"""The smart layers in front of the engine: each looks at one stock and leaves its reason."""

from collections.abc import Callable, Mapping
from types import MappingProxyType

from tradebox.backtest.layers import character, excursion, quality, search, sizing
from tradebox.backtest.layers.state import State

LAYERS: Mapping[str, Callable[[State], State]] = MappingProxyType(
    {
        "quality": quality.apply,
        "character": character.apply,
        "search": search.apply,
        "excursion": excursion.apply,
        "sizing": sizing.apply,
    }
)
"""Every layer by the name config switches and orders it with."""
