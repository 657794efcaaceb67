"""Reads the settings of a run from flags, environment and config.toml, in falling rank.

Rules of this file:
- TRADEBOX_SECTION_FIELD names a field; an unknown TRADEBOX_ name is refused like an unknown key;
- every refusal is one ConfigInvalid that lists field, value and fix, all problems at once;
- values of secret fields never reach a message.
"""

import os
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, SecretStr, ValidationError
from pydantic.fields import FieldInfo
from pydantic_settings import (
    BaseSettings,
    InitSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from tradebox.config.home import ENV_HOME, Home
from tradebox.config.settings import Settings
from tradebox.errors import ConfigInvalid

ENV_PREFIX = "TRADEBOX_"
ENV_OTHERS = frozenset({ENV_HOME, "TRADEBOX_LIVE_CONFIRM", "TRADEBOX_TEST_TMP"})
"""Names under our prefix that are no settings."""

CONFIG_BYTES_MAX = 256 * 1024


def load_settings(
    home: Home,
    flags: Mapping[str, Any] | None = None,
    environ: Mapping[str, str] = os.environ,
) -> Settings:
    """Return the settings of a run.

    flags: nested mapping of what the command line set, e.g. {"sim": {"speed": 5.0}}.
    Raises:  ConfigInvalid naming every bad field with its value and the fix.
    """
    file_values = _read_file(home.config_file)
    env_values = _read_environment(environ)

    class Loaded(Settings, BaseSettings):
        model_config = SettingsConfigDict(frozen=True, extra="forbid", validate_default=True)

        @classmethod
        def settings_customise_sources(
            cls,
            settings_cls: type[BaseSettings],
            init_settings: PydanticBaseSettingsSource,
            env_settings: PydanticBaseSettingsSource,
            dotenv_settings: PydanticBaseSettingsSource,
            file_secret_settings: PydanticBaseSettingsSource,
        ) -> tuple[PydanticBaseSettingsSource, ...]:
            del env_settings, dotenv_settings, file_secret_settings
            return (
                init_settings,
                InitSettingsSource(settings_cls, env_values),
                InitSettingsSource(settings_cls, file_values),
            )

    try:
        loaded = Loaded(**(flags or {}))
    except ValidationError as error:
        origin = _origins(flags or {}, env_values, file_values, home)
        raise ConfigInvalid("\n".join(_explain(error, origin))) from None
    return Settings.model_validate(
        {name: getattr(loaded, name) for name in Settings.model_fields}, strict=False
    )


def environment_names(
    model: type[BaseModel] = Settings, prefix: str = ENV_PREFIX, path: tuple[str, ...] = ()
) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yield every environment name of a setting with the path of its field."""
    for name, field in model.model_fields.items():
        section = section_of(field)
        here = (*path, name)
        if section is None:
            yield f"{prefix}{name.upper()}", here
        else:
            yield from environment_names(section, f"{prefix}{name.upper()}_", here)


def section_of(field: FieldInfo) -> type[BaseModel] | None:
    """Return the nested settings class of a field, or None for a plain value."""
    kind = field.annotation
    return kind if isinstance(kind, type) and issubclass(kind, BaseModel) else None


def is_secret(field: FieldInfo) -> bool:
    """Say whether a field's value must be masked."""
    return field.annotation is SecretStr or SecretStr in get_args(field.annotation)


def masked(settings: BaseModel) -> dict[str, Any]:
    """Return the settings as plain values, secrets as '***'."""
    out: dict[str, Any] = {}
    for name, field in type(settings).model_fields.items():
        value = getattr(settings, name)
        if isinstance(value, BaseModel):
            out[name] = masked(value)
        elif is_secret(field):
            out[name] = None if value is None else "***"
        else:
            out[name] = value
    return out


def _read_file(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > CONFIG_BYTES_MAX:
            raise ConfigInvalid(
                f"{path}: larger than {CONFIG_BYTES_MAX} bytes: this is no config file"
            )
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except NotADirectoryError as error:
        raise ConfigInvalid(f"home {path.parent} is not a folder: choose another --home") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigInvalid(
            f"{path}: not valid TOML: {error}: fix the line or run `tradebox config init --force`"
        ) from None
    except RecursionError:
        raise ConfigInvalid(f"{path}: nested too deeply: this is no config file") from None
    except UnicodeDecodeError:
        raise ConfigInvalid(f"{path}: not UTF-8 text: save it as UTF-8") from None
    except OSError as error:
        raise ConfigInvalid(f"{path}: cannot be read: {error.strerror}") from error


def _read_environment(environ: Mapping[str, str]) -> dict[str, Any]:
    known = dict(environment_names())
    values: dict[str, Any] = {}
    unknown = []
    for name in sorted(environ):
        if not name.startswith(ENV_PREFIX) or name in ENV_OTHERS:
            continue
        path = known.get(name)
        if path is None:
            unknown.append(f"{name}: unknown environment name: unset it or see `config show`")
        elif environ[name] != "":
            _put(values, path, environ[name])
    if unknown:
        raise ConfigInvalid("\n".join(unknown))
    return values


def _put(values: dict[str, Any], path: tuple[str, ...], value: object) -> None:
    for part in path[:-1]:
        values = values.setdefault(part, {})
    values[path[-1]] = value


def _origins(
    flags: Mapping[str, Any], env: Mapping[str, Any], file: Mapping[str, Any], home: Home
) -> dict[tuple[str, ...], str]:
    names = {path: name for name, path in environment_names()}
    origins: dict[tuple[str, ...], str] = {}
    for path in _paths(file):
        origins[path] = str(home.config_file)
    for path in _paths(env):
        origins[path] = names.get(path, "environment")
    for path in _paths(flags):
        origins[path] = "command line"
    return origins


def _paths(values: Mapping[str, Any], path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _paths(value, (*path, name))
        yield (*path, name)


def _explain(error: ValidationError, origins: Mapping[tuple[str, ...], str]) -> Iterator[str]:
    for problem in error.errors(include_url=False):
        path = tuple(str(part) for part in problem["loc"])
        if not path:
            yield str(problem.get("ctx", {}).get("error", problem["msg"]))
            continue
        where = origins.get(path, "settings")
        if problem["type"] == "extra_forbidden":
            yield f"{'.'.join(path)}: unknown key ({where}): remove it or see `config show`"
            continue
        shown = "***" if _path_is_secret(path) else repr(problem["input"])
        yield f"{'.'.join(path)}={shown} ({where}): {_in_words(problem)}: correct the value"


def _in_words(problem: Mapping[str, Any]) -> str:
    """Return what is wrong with a value, without the words of the library that found it."""
    if problem["type"] == "model_type":
        return "it holds settings: write it as a table, and each setting below it"
    if problem["type"] == "value_error":
        return str(problem["ctx"]["error"])
    message = str(problem["msg"])
    return message[:1].lower() + message[1:]


def _path_is_secret(path: tuple[str, ...]) -> bool:
    model: type[BaseModel] | None = Settings
    for part in path:
        field = model.model_fields.get(part) if model is not None else None
        if field is None:
            return False
        if is_secret(field):
            return True
        model = section_of(field)
    return False
