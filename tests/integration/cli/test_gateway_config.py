"""`tradebox gateway config --out`: a file whole or as it was, and no login lost."""

import resource
from pathlib import Path

import pytest

from tradebox.cli.gateway import _write
from tradebox.errors import InputError


def test_a_configuration_is_private_and_may_be_written_again(tmp_path: Path) -> None:
    out = tmp_path / "config.ini"
    out.write_text("IbLoginId=\nIbPassword=\n")
    _write(out, "TradingMode=paper\n")
    assert out.read_text() == "TradingMode=paper\n"
    assert out.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == [out]


@pytest.mark.parametrize("line", ["IbLoginId=me", "IbPassword=secret"])
def test_a_file_with_a_login_is_left_as_it_is(tmp_path: Path, line: str) -> None:
    out = tmp_path / "config.ini"
    out.write_text(f"TradingMode=paper\n{line}\n")
    with pytest.raises(InputError, match="holds a login"):
        _write(out, "TradingMode=paper\n")
    assert line in out.read_text()


def test_what_cannot_be_written_whole_leaves_the_old_file(tmp_path: Path) -> None:
    out = tmp_path / "config.ini"
    out.write_text("old\n")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (16, limits[1]))
    try:
        with pytest.raises(InputError, match="cannot be written"):
            _write(out, "x" * 100)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert out.read_text() == "old\n"
    assert list(tmp_path.iterdir()) == [out]


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="No such file or directory"):
        _write(tmp_path / "none" / "config.ini", "x")
