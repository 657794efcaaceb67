"""Keeps secrets out of every log line, by value and by key.

Rules of this file:
- a known secret value is masked wherever it stands, also inside longer text;
- a field whose name says secret is masked whatever its value;
- the password of any URL and the value of any token parameter are masked even if unknown to us.
"""

import re
from collections.abc import Iterable, Mapping

MASK = "***"
SECRET_KEYS = re.compile(
    r"(password|passwd|secret|token|api_?key|authorization|dsn)", re.IGNORECASE
)
URL_PASSWORD = re.compile(r"(?P<head>[a-z][a-z0-9+.-]*://[^\s:/@]*:)[^\s/@]+(?=@)", re.IGNORECASE)
TOKEN_PARAMETER = re.compile(
    r"(?P<head>\b(?:token|apikey|api_key|crumb)=)[^\s&\"']+", re.IGNORECASE
)
SHORTEST_SECRET = 6
"""Shorter values would mask ordinary words; our own secrets are far longer."""


class Redactor:
    """Masks secrets in text and in nested values.

    Holds: no registered value of at least SHORTEST_SECRET characters survives `text`.
    """

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._values: tuple[str, ...] = ()
        self.add(secrets)

    def add(self, secrets: Iterable[str]) -> None:
        """Register more secret values; longest first, so that none leaves a tail."""
        fresh = {value for value in secrets if len(value) >= SHORTEST_SECRET}
        self._values = tuple(sorted(fresh | set(self._values), key=len, reverse=True))

    def text(self, text: str) -> str:
        """Return the text with every secret masked."""
        for value in self._values:
            if value in text:
                text = text.replace(value, MASK)
        text = URL_PASSWORD.sub(rf"\g<head>{MASK}", text)
        return TOKEN_PARAMETER.sub(rf"\g<head>{MASK}", text)

    def value(self, value: object, key: str = "") -> object:
        """Return the value with every secret masked, at any depth."""
        if key and SECRET_KEYS.search(key) and value not in (None, "", False, True):
            return MASK
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, Mapping):
            return {str(name): self.value(item, str(name)) for name, item in value.items()}
        if isinstance(value, list | tuple | set | frozenset):
            return [self.value(item) for item in value]
        return value
