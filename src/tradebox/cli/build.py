"""Which tradebox this is: its version, a digest of its code, and the schema it was written for.

Rules of this file:
- the build is a digest of the package's own modules and migrations: two trees with one digest run
  the same code.
"""

import hashlib
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from importlib.resources import files
from pathlib import Path
from typing import Final

DIGEST_CHARS: Final = 12


def build() -> dict[str, object]:
    """Return version, build (digest of the code) and schema (newest migration shipped)."""
    from tradebox.adapters.postgres.migrate import load_migrations

    try:
        number = version("tradebox")
    except PackageNotFoundError:
        number = "0+source"
    migrations = load_migrations()
    return {
        "version": number,
        "build": digest(Path(str(files("tradebox"))), [each.sha256 for each in migrations]),
        "schema": migrations[-1].number,
    }


def digest(package: Path, more: Sequence[str] = ()) -> str:
    """Return the digest of every module below a folder, by name and content, and of more."""
    told = hashlib.sha256()
    for path in sorted(package.rglob("*.py")):
        told.update(path.relative_to(package).as_posix().encode() + b"\0")
        told.update(hashlib.sha256(path.read_bytes()).digest())
    for text in more:
        told.update(text.encode())
    return told.hexdigest()[:DIGEST_CHARS]
