import os
import stat

import pytest

from tradebox.adapters.embedded.folders import private_dir, usable
from tradebox.config import Home
from tradebox.errors import HomeUnusable


@pytest.mark.parametrize("kind", ["a file", "a link to itself", "no place for folders"])
def test_a_home_that_cannot_be_made_is_one_refusal_that_names_it(tmp_path, kind):
    place = tmp_path / "home"
    if kind == "a file":
        place.write_text("")
    elif kind == "a link to itself":
        place.symlink_to(place)
    else:
        place = tmp_path.parents[-1] / "proc" / "nowhere"
    home = Home(place)
    with pytest.raises(HomeUnusable) as caught, usable(home):
        private_dir(home.root / "run")
    assert str(place) in caught.value.message
    assert "choose another" in caught.value.message


def test_no_folder_that_is_made_is_open_to_others(tmp_path):
    before = os.umask(0o022)
    try:
        private_dir(tmp_path / "new" / "home" / "run")
    finally:
        os.umask(before)
    for made in ("new", "new/home", "new/home/run"):
        assert stat.S_IMODE((tmp_path / made).stat().st_mode) == 0o700
