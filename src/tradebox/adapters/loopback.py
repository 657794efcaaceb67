"""Where a vendor's address points."""

from urllib.parse import urlsplit

LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})


def is_loopback(url: str) -> bool:
    """True for an address on this machine: no proxy of the environment stands before it."""
    return urlsplit(url).hostname in LOOPBACK
