"""`tradebox adopt` and `release`: what a person decides about a symbol that is not all ours.

Rules of this file:
- the document is read here, and checked by the controller against what the broker holds.
"""

from pathlib import Path
from typing import Annotated

import typer

from tradebox.cli.asking import request, show
from tradebox.cli.options import AccountOption, HomeOption, JsonOption
from tradebox.cli.plan import read_document
from tradebox.config import find_home

SymbolArgument = Annotated[str, typer.Argument(help="The symbol, e.g. AAPL.")]


def adopt(
    symbol: SymbolArgument,
    plan: Annotated[Path, typer.Option("--plan", help="The plan that manages it from now on.")],
    account: AccountOption,
    whole: Annotated[
        bool, typer.Option("--whole", help="The shares of our own plans, too: after a split.")
    ] = False,
    home: HomeOption = None,
    json: JsonOption = False,
) -> None:
    """Give a position that no plan of ours opened a plan and its stop."""
    from tradebox.domain.plan_document import parse_document

    document = parse_document(read_document(plan))
    args = {"symbol": symbol.upper(), "document": document.to_json(), "whole": whole}
    show(request(find_home(home), account, "adopt", args), json=json)


def release(
    symbol: SymbolArgument,
    account: AccountOption,
    keep: Annotated[
        bool, typer.Option("--keep", help="Leave what the broker holds alone, as a person's own.")
    ] = False,
    home: HomeOption = None,
    json: JsonOption = False,
) -> None:
    """Let a quarantined symbol take entries again."""
    args = {"symbol": symbol.upper(), "keep": keep}
    show(request(find_home(home), account, "release", args), json=json)
