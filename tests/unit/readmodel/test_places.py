import json

import pytest

from tradebox.readmodel import Address, NoPlaces, Places, read_places

GOOD = {
    "postgres": "postgresql://console_ro:p%40ss@/tradebox?host=%2Ftmp%2Fx%2Fpg",
    "redis": "unix://console:p%40ss@/tmp/x/valkey/valkey.sock",
    "profile": "sim",
    "world": "SIMULATED",
}


def write(tmp_path, fields):
    path = tmp_path / "console.json"
    path.write_text(fields if isinstance(fields, str) else json.dumps(fields))
    return path


def test_embedded_stores_are_two_unix_sockets(tmp_path):
    places = read_places(write(tmp_path, GOOD))
    assert isinstance(places, Places)
    assert places.addresses() == {
        Address("/tmp/x/pg/.s.PGSQL.5432", None),
        Address("/tmp/x/valkey/valkey.sock", None),
    }


def test_external_stores_are_hosts_and_ports(tmp_path):
    fields = {
        **GOOD,
        "postgres": "postgresql://u:p@db.example:6000/x",
        "redis": "redis://u:p@10.0.0.9/0",
    }
    places = read_places(write(tmp_path, fields))
    assert isinstance(places, Places)
    assert places.addresses() == {Address("db.example", 6000), Address("10.0.0.9", 6379)}


@pytest.mark.parametrize(
    "fields",
    [
        "",
        "{",
        "[]",
        "3",
        {},
        {**GOOD, "postgres": "mysql://x"},
        {**GOOD, "postgres": "postgresql://u:p@/x"},
        {**GOOD, "redis": "http://x"},
        {**GOOD, "redis": "redis://"},
    ],
)
def test_what_is_not_whole_is_waited_for(tmp_path, fields):
    found = read_places(write(tmp_path, fields))
    assert isinstance(found, NoPlaces)
    assert "console.json" in found.reason


def test_no_file_means_nothing_has_run(tmp_path):
    found = read_places(tmp_path / "console.json")
    assert isinstance(found, NoPlaces)
    assert "nothing has run" in found.reason


def test_an_unreadable_file_says_why(tmp_path):
    found = read_places(tmp_path)
    assert isinstance(found, NoPlaces)
    assert "cannot be read" in found.reason


def test_a_redis_of_ones_own_needs_a_login_for_the_console(tmp_path):
    fields = {"postgres": "postgresql://u:p@h/db", "redis": "", "profile": "paper", "world": ""}
    (tmp_path / "console.json").write_text(json.dumps(fields))
    told = read_places(tmp_path / "console.json")
    assert isinstance(told, NoPlaces)
    assert "redis.console_url" in told.reason
