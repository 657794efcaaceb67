"""Counts what is imported from now on: a process that serves must not load code any more.

Rules of this file:
1. It only looks: the import goes on as if nobody had.
2. Names are kept up to a limit, the count is not limited.
"""

from __future__ import annotations

import importlib.abc
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Final

NAMES_MAX: Final = 50


class ImportWatch(importlib.abc.MetaPathFinder):
    """Stands first among the finders; asked only for modules that are not loaded yet.

    Holds: count is the number of modules looked for since start(), found or not.
    """

    def __init__(self) -> None:
        self.count = 0
        self.names: list[str] = []

    def start(self) -> None:
        """Look from now on; harmless twice."""
        if self not in sys.meta_path:
            sys.meta_path.insert(0, self)

    def stop(self) -> None:
        """Look no more; harmless twice."""
        if self in sys.meta_path:
            sys.meta_path.remove(self)

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None,
        target: ModuleType | None = None,
    ) -> ModuleSpec | None:
        """Count the module and leave finding it to the others."""
        del path, target
        self.count += 1
        if len(self.names) < NAMES_MAX:
            self.names.append(fullname)
        return None
