"""vectorbt's rust engine without vectorbt's five seconds of imports.

Rules of this file:
- the extension looks for one module of vectorbt, its portfolio enums, for two record types; that
  module's own file is loaded in the place of the whole package, so no record type is copied here;
- stand-ins are in sys.modules only while a call needs them: a real `import vectorbt` still works;
- where vectorbt is loaded already, it is used as it is.

Public name: signal_orders.
"""

import sys
import typing
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from importlib import import_module, util
from pathlib import Path
from types import ModuleType
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

ENUMS: Final = "vectorbt.portfolio.enums"
_ABOVE: Final = ("vectorbt", "vectorbt.portfolio")
_CASH: Final = 1e15
"""More than any account: no order may fail for want of cash, sizes are given."""

_FREE: Final = np.asarray(0.0)
_NONE: Final = np.asarray(np.nan)
_ALL: Final = np.asarray(np.inf)
_NO: Final = np.asarray(False)
_YES: Final = np.asarray(True)
_ZERO: Final = np.asarray(0)


def signal_orders(
    shape: tuple[int, int], arrays: dict[str, NDArray[Any]], orders_max: int
) -> NDArray[np.void]:
    """Return the order records vectorbt makes of signals in long and short.

    arrays: C-ordered (n, 1) or (n, columns) arrays named as vectorbt names them. Fixed: sizes are
    shares, entries while in a position are ignored, stops hang on the fill and leave at market.
    """
    enums = _enums()
    simulate = _simulate()
    get = arrays.get
    with _as_vectorbt(enums):
        orders, _ = simulate(
            shape,
            np.ones(shape[1], np.int64),
            np.full(shape[1], _CASH),
            np.zeros(shape, np.int64),
            _NO,
            _NO,
            _ZERO,
            arrays["long_entries"],
            arrays["long_exits"],
            arrays["short_entries"],
            arrays["short_exits"],
            arrays["size"],
            arrays["price"],
            np.asarray(enums.SizeType.Amount),
            _FREE,
            _FREE,
            arrays["slippage"],
            _FREE,
            _ALL,
            _NONE,
            _FREE,
            _NO,
            _YES,
            _NO,
            _NO,
            np.asarray(enums.AccumulationMode.Disabled),
            _ZERO,
            _ZERO,
            _ZERO,
            np.asarray(enums.OppositeEntryMode.Ignore),
            _ALL,
            arrays["open"],
            arrays["high"],
            arrays["low"],
            arrays["close"],
            get("sl_stop", _NONE),
            get("sl_trail", _NO),
            get("tp_stop", _NONE),
            np.asarray(enums.StopEntryPrice.FillPrice),
            np.asarray(enums.StopExitPrice.StopMarket),
            np.asarray(enums.StopExitMode.Close),
            np.asarray(enums.StopUpdateMode.Keep),
            max_orders=orders_max,
        )
    found: NDArray[np.void] = orders
    return found


@lru_cache(maxsize=1)
def _simulate() -> Any:
    return import_module("vectorbt_rust").portfolio.simulate_from_signals_rs


@lru_cache(maxsize=1)
def _enums() -> Any:
    """Load the file of vectorbt.portfolio.enums alone."""
    loaded = sys.modules.get(ENUMS)
    if loaded is not None:
        return loaded
    package = util.find_spec("vectorbt")
    if package is None or package.origin is None:
        raise ModuleNotFoundError("vectorbt is not installed", name="vectorbt")
    path = Path(package.origin).parent / "portfolio" / "enums.py"
    spec = util.spec_from_file_location(ENUMS, path)
    assert spec is not None
    assert spec.loader is not None
    module = util.module_from_spec(spec)
    with _as_vectorbt(module):
        spec.loader.exec_module(module)
    return module


class _Typing(ModuleType):
    """Stands in for vectorbt._typing, whose names are only annotations here."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(typing, name, Any)


@contextmanager
def _as_vectorbt(enums: ModuleType) -> Iterator[None]:
    """Let `vectorbt.portfolio.enums` be that module, unless vectorbt itself is loaded."""
    if "vectorbt" in sys.modules:
        yield
        return
    names = (*_ABOVE, "vectorbt.utils", "vectorbt.utils.docs", "vectorbt._typing")
    stand_ins: dict[str, ModuleType] = {name: ModuleType(name) for name in names[:-2]}
    docs = ModuleType("vectorbt.utils.docs")
    docs.to_doc = lambda *_args, **_more: ""  # type: ignore[attr-defined]
    stand_ins |= {"vectorbt.utils.docs": docs, "vectorbt._typing": _Typing("vectorbt._typing")}
    vars(stand_ins["vectorbt"])["_typing"] = stand_ins["vectorbt._typing"]
    stand_ins["vectorbt"].portfolio = stand_ins["vectorbt.portfolio"]  # type: ignore[attr-defined]
    stand_ins["vectorbt.portfolio"].enums = enums  # type: ignore[attr-defined]
    sys.modules.update(stand_ins)
    sys.modules[ENUMS] = enums
    try:
        yield
    finally:
        for name in (*stand_ins, ENUMS):
            del sys.modules[name]
