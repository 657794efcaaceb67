"""The runs that the rows of one module share."""

from collections.abc import Iterator

import pytest

from chaos.vendors.harness import Runs


@pytest.fixture(scope="module")
def runs() -> Iterator[Runs]:
    """Runs by their kind, ended with the module."""
    made = Runs()
    try:
        yield made
    finally:
        made.close()
