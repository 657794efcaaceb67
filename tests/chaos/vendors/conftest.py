"""The runs that the rows of one module share, and the order that lets them."""

from collections.abc import Iterator

import pytest

from chaos.vendors.harness import Runs


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put rows of one world beside each other, whatever order they came in: one run for all.

    Worlds follow each other as their first rows came; the order within a world stays.
    """
    places = [place for place, item in enumerate(items) if _world(item) is not None]
    rows = [items[place] for place in places]
    ranks = {key: rank for rank, key in enumerate(dict.fromkeys(map(_world, rows)))}
    rows.sort(key=lambda item: ranks[_world(item)])
    for place, item in zip(places, rows, strict=True):
        items[place] = item


def _world(item: pytest.Item) -> tuple[str, str] | None:
    """Return the module and the world of a row; None for any other test."""
    row = getattr(item, "callspec", None) and item.callspec.params.get("row")
    world = getattr(row, "world", None)
    return None if world is None else (item.path.name, world)


@pytest.fixture(scope="module")
def runs() -> Iterator[Runs]:
    """Runs by their kind, ended with the module."""
    made = Runs()
    try:
        yield made
    finally:
        made.close()
