"""What every code of the gateway means, as data.

Rules of this file:
- the table is codes.csv: one row per code with class, scope and actions joined by "+";
- a code that is not in it keeps the order, has it looked up, and is shown to a person;
- a code never gives an order a state: it only says where to look.
"""

import csv
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Final

HALTED: Final = 154
"""The code of an order that is refused because its symbol is halted."""
LOCATING: Final = 404
"""The code of a short sale that waits until shares to borrow are found: hours, it may be."""
_WARNINGS: Final = range(2100, 2200)

LOOK_CLASSES: Final = frozenset(
    {
        "order-rejected",
        "order-modify-failed",
        "order-cancel-failed",
        "order-cancelled",
        "ambiguous-send",
        "permission",
        "client-error",
    }
)
"""Classes after which the broker's own lists must say what became of an order."""

REFUSAL_CLASSES: Final = frozenset({"order-rejected", "permission", "client-error"})
"""Classes that name a refusal: of a new order, or of the change of a working one."""


_LOOKS: Final = frozenset({"RECON_ORDER", "RECON_FULL"})
_STOPS: Final = frozenset({"HALT_PAGE", "BLOCK_NEW_ENTRIES"})


@dataclass(frozen=True, slots=True)
class CodeRow:
    """One code. actions: words like RECON_ORDER, KEEP_ORDER, BLOCK_NEW, PAGE."""

    code: str
    code_class: str
    scope: str
    actions: frozenset[str]
    name: str
    is_known: bool = True

    @property
    def wants_look(self) -> bool:
        """True where the broker's lists must be read."""
        return self.code_class in LOOK_CLASSES or bool(self.actions & _LOOKS)

    @property
    def is_refusal(self) -> bool:
        """True where the code refuses something; what, the lists say."""
        return self.code_class in REFUSAL_CLASSES or self.code_class == "order-modify-failed"

    @property
    def stops_entries(self) -> bool:
        """True for a code of an order or the account after which a person must look first."""
        return self.scope == "order" and bool(self.actions & _STOPS)

    @property
    def wants_person(self) -> bool:
        """True where a person must be told."""
        return bool(self.actions & {"PAGE", "PAGE_OFFICE", "HALT_PAGE"})


@cache
def table() -> dict[str, CodeRow]:
    """Return every row of the table by code; "*" is the default row."""
    text = resources.files("tradebox.execution").joinpath("codes.csv").read_text("utf-8")
    return {
        row["code"]: CodeRow(
            code=row["code"],
            code_class=row["class"],
            scope=row["scope"],
            actions=frozenset(row["action"].split("+")),
            name=row["name"],
        )
        for row in csv.DictReader(text.splitlines())
    }


def row_of(code: int) -> CodeRow:
    """Return the row of a code; an unlisted one keeps the order and has it looked up."""
    known = table().get(str(code))
    if known is not None:
        return known
    default = table()["*"]
    is_warning = code in _WARNINGS
    return CodeRow(
        code=str(code),
        code_class="warning" if is_warning else default.code_class,
        scope="order",
        actions=frozenset({"KEEP_ORDER", "PAGE_OFFICE"}) if is_warning else default.actions,
        name=default.name,
        is_known=False,
    )
