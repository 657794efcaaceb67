"""The [backtest] section: sizes, names of layers, and a template that is TOML when uncommented."""

import re
import tomllib

import pytest
from pydantic import ValidationError

from tradebox.cli.config import template
from tradebox.config import BacktestSettings, Home, load_settings


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("4GiB", 4 << 30),
        ("1.5 gib", 3 << 29),
        ("512MiB", 512 << 20),
        ("1GB", 10**9),
        ("100", 100),
        (7, 7),
    ],
)
def test_a_size_is_a_number_with_a_unit(text, size) -> None:
    assert BacktestSettings(memory_budget=text).memory_budget == size


@pytest.mark.parametrize("text", ["", "GiB", "4 gallons", "-1GiB", "0", "1e9", "4GiB or more"])
def test_what_is_no_size_is_refused(text) -> None:
    with pytest.raises(ValidationError, match="memory_budget"):
        BacktestSettings(memory_budget=text)


def test_an_environment_variable_names_layers_with_commas(tmp_path) -> None:
    settings = load_settings(
        Home(tmp_path), environ={"TRADEBOX_BACKTEST_LAYERS": "quality, sizing"}
    )
    assert settings.backtest.layers == ("quality", "sizing")


@pytest.mark.parametrize(
    ("layers", "message"), [(("quality", "magic"), "magic"), (("search", "search"), "twice")]
)
def test_layers_are_known_and_named_once(layers, message) -> None:
    with pytest.raises(ValidationError, match=message):
        BacktestSettings(layers=layers)


def test_every_line_of_the_template_is_toml_once_uncommented() -> None:
    lines = [
        re.sub(r"^# (?=\w+ = )", "", line)
        for line in template().splitlines()
        if not line.endswith("# not set")
    ]
    read = tomllib.loads("\n".join(lines))
    assert tuple(read["backtest"]["layers"]) == BacktestSettings().layers
