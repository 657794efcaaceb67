"""`tradebox tui` in its plain forms is known without the command line; nothing else is."""

import pytest

from tradebox.__main__ import console_options


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("tui", {}),
        ("tui --home /h", {"--home": "/h"}),
        ("tui --home=/h --screen plans", {"--home": "/h", "--screen": "plans"}),
        ("", None),
        ("run", None),
        ("run tui", None),
        ("tui --help", None),
        ("tui --home", None),
        ("tui --home=", None),
        ("tui --home --screen", None),
        ("tui --home /a --home /b", None),
        ("tui extra", None),
        ("--json tui", None),
    ],
)
def test_only_plain_forms_are_known(line, found):
    assert console_options(line.split()) == found
