"""Words for what the launcher does: one line per event, JSON or for a person."""

from collections.abc import Callable, Mapping

import orjson

from tradebox.config import Settings

PHRASES = {
    "server_ready": "{name} is ready",
    "server_down": "{name} is down",
    "server_failed": "{name} failed to start",
    "server_stop_trouble": "{name} did not stop by itself",
    "engine_ready": "engine is ready",
    "engine_died": "engine died",
    "console_opens": "the console opens; stores and engine start meanwhile",
    "console_left": "console closed, trading goes on",
    "stopping": "stopping in order",
    "hastened": "stopping at once",
}
HIDDEN = frozenset({"name", "ready"})


def event_renderer(
    settings: Settings, *, as_json: bool
) -> Callable[[str, Mapping[str, object]], str | None]:
    """Return what turns a launcher event into a line of stdout."""
    world = "SIMULATED" if settings.profile == "sim" else ""

    def as_object(event: str, fields: Mapping[str, object]) -> str:
        shown = {"event": event, **({"world": world} if world else {}), **fields}
        shown.pop("ready", None)
        return orjson.dumps(shown, default=str).decode()

    def as_words(event: str, fields: Mapping[str, object]) -> str:
        phrase = PHRASES.get(event, event.replace("_", " "))
        if "{name}" in phrase:
            phrase = phrase.format(name=fields.get("name", "?"))
        rest = " ".join(
            f"{key}={value}"
            for key, value in fields.items()
            if key not in HIDDEN and value not in (None, "", ())
        )
        return " ".join(word for word in (world, "·", phrase, rest) if word)

    return as_object if as_json else as_words
