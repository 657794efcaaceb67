"""The runs that the rows of one module share."""

from collections.abc import Iterator

import pytest

from chaos.matrix.acts import Runs


@pytest.fixture(scope="module")
def runs() -> Iterator[Runs]:
    """Runs by their settings, ended with the module."""
    made = Runs()
    try:
        yield made
    finally:
        made.close()
