import pytest

from tradebox.config import Home, environment_names, find_home, load_settings, masked
from tradebox.errors import ConfigInvalid, ExitCode


@pytest.fixture
def home(tmp_path):
    return Home(tmp_path)


def refused(home, *, toml="", env=None, flags=None):
    home.config_file.write_text(toml)
    with pytest.raises(ConfigInvalid) as caught:
        load_settings(home, flags or {}, env or {})
    assert caught.value.exit_code is ExitCode.CONFIG
    return str(caught.value)


def test_without_any_source_the_profile_is_sim(home):
    settings = load_settings(home, {}, {})
    assert settings.profile == "sim"
    assert settings.sim.demo_plans is True


def test_flags_beat_environment_beats_file(home):
    home.config_file.write_text("[sim]\nspeed = 2\nseed = 7\ndemo_plans = false\n")
    env = {"TRADEBOX_SIM_SPEED": "3", "TRADEBOX_SIM_SEED": "8"}
    settings = load_settings(home, {"sim": {"speed": 4.0}}, env)
    assert (settings.sim.speed, settings.sim.seed, settings.sim.demo_plans) == (4.0, 8, False)


@pytest.mark.parametrize(
    ("kwargs", "field", "value", "fix"),
    [
        ({"toml": "[sim]\nspede = 3"}, "sim.spede", "unknown key", "remove it"),
        ({"toml": "[sim]\nspeed = 1e9"}, "sim.speed", "1000000000.0", "correct"),
        ({"toml": "[sim]\nspeed = nan"}, "sim.speed", "nan", "correct"),
        ({"env": {"TRADEBOX_SIM_SPEED": "fast"}}, "sim.speed", "fast", "TRADEBOX_SIM_SPEED"),
        ({"env": {"TRADEBOX_SIM_SPEDE": "3"}}, "TRADEBOX_SIM_SPEDE", "unknown", "unset"),
        ({"flags": {"profile": "moon"}}, "profile", "moon", "command line"),
        ({"toml": "profile = 'live'"}, "paper.account", "live", "set it"),
        ({"toml": "[paper]\nport = 4002"}, "paper.port", "4002", "remove it"),
        ({"toml": "[live]\nport = 7496"}, "live.port", "7496", "remove it"),
        ({"toml": "[live]\nclient_id = 11"}, "client_id", "11", "give each its own"),
        ({"toml": "x =="}, "config.toml", "not valid TOML", "fix the line"),
        ({"toml": "log = [1]"}, "log", "[1]", "write it as a table"),
        ({"toml": "[backtest]\nseed = 9223372036854775808"}, "backtest.seed", "922", "correct"),
        ({"toml": "[backtest]\nretention_days = 40000"}, "retention_days", "40000", "correct"),
        ({"toml": "[backtest]\nmemory_budget = '4 gallons'"}, "memory_budget", '"4GiB"', "correct"),
        ({"toml": "x = " + "[" * 5000}, "config.toml", "nested too deeply", "no config file"),
    ],
)
def test_a_bad_setting_is_refused_with_field_value_and_fix(home, kwargs, field, value, fix):
    message = refused(home, **kwargs)
    assert field in message
    assert value in message
    assert fix in message


def test_all_problems_are_told_at_once(home):
    message = refused(home, toml="[sim]\nspede = 3\nspeed = 0\n[log]\nlevel = 'LOUD'")
    assert len(message.splitlines()) == 3


def test_a_secret_never_reaches_a_message_or_a_listing(home):
    assert "hunter2" not in refused(home, toml="[finnhub]\nkey = ['hunter2']")
    home.config_file.write_text("[postgres]\nurl = 'postgresql://me:hunter2@box/db'")
    settings = load_settings(home, {}, {})
    assert "hunter2" not in str(masked(settings))
    assert "hunter2" not in repr(settings)
    assert masked(settings)["postgres"]["url"] == "***"


def test_every_setting_has_one_environment_name():
    names = [name for name, _ in environment_names()]
    assert len(names) == len(set(names))
    assert {"TRADEBOX_POSTGRES_URL", "TRADEBOX_REDIS_URL", "TRADEBOX_SIM_DEMO_PLANS"} <= set(names)


def test_the_home_is_the_flag_then_the_variable_then_the_platform_default(tmp_path):
    env = {"TRADEBOX_HOME": str(tmp_path / "b")}
    assert find_home(tmp_path / "a", env).root == tmp_path / "a"
    assert find_home(None, env).root == tmp_path / "b"
    assert find_home(None, {}).root.name == "tradebox"


def test_two_homes_never_share_a_socket_folder(tmp_path):
    assert Home(tmp_path / "a").socket_dir != Home(tmp_path / "b").socket_dir
    assert len(str(Home(tmp_path / ("x" * 200)).control_socket)) < 108
