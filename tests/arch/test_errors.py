"""Every error class says what the program then does, and ends a command with a stable code."""

import inspect

import pytest

from tradebox import errors

CLASSES = [
    item
    for _, item in inspect.getmembers(errors, inspect.isclass)
    if issubclass(item, errors.TradeboxError)
]


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
def test_the_docstring_ends_with_its_answer(kind):
    last = [line.strip() for line in inspect.getdoc(kind).splitlines() if line.strip()][-1]
    assert last.startswith("Answer: ")
    assert last.endswith(".")


def test_exit_codes_are_stable():
    assert {code.name: code.value for code in errors.ExitCode} == {
        "OK": 0,
        "FAILED": 1,
        "CONFIG": 2,
        "NOT_RUNNING": 3,
        "REFUSED": 4,
        "HOME": 5,
        "STORE": 6,
        "ADDRESS": 7,
        "CRASH_LOOP": 8,
        "VENDOR": 9,
    }
    assert set(errors.EXIT_CODE_MEANINGS) == set(errors.ExitCode)


def test_an_error_carries_fields():
    error = errors.StoreUnavailable("gone", dsn="x", attempt=3)
    assert error.fields == {"dsn": "x", "attempt": 3}
    assert str(error) == "gone"
