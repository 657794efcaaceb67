"""The files of the embedded PostgreSQL cluster: made once, whole or not at all.

Rules of this file:
- a cluster is complete when no `postgres.initialising` stands beside it; else it is made anew;
- the superuser's password goes to initdb by a pipe, and every login needs scram-sha-256;
- what is no cluster of our version is refused and left as it is.
"""

import os
import shutil
import subprocess
from pathlib import Path

from tradebox.adapters.embedded import userns
from tradebox.adapters.embedded.addresses import SUPERUSER
from tradebox.adapters.embedded.binaries import postgres_binary
from tradebox.adapters.embedded.folders import home_unusable, sync_dir, write_private
from tradebox.adapters.embedded.processes import clean_environment
from tradebox.adapters.embedded.secrets import Login, password
from tradebox.config import Home
from tradebox.errors import HomeUnusable, StoreUnavailable
from tradebox.supervision.locks import LockHeld

MAJOR = 18
INITDB_S_MAX = 120.0


def initialising(home: Home) -> Path:
    """Return the file that stands beside a cluster that is not complete."""
    return home.postgres_dir.with_name("postgres.initialising")


def ensure_cluster(home: Home, lock: LockHeld) -> bool:
    """Make the files where there are none or half-made ones; True when they are new.

    lock: the starter's; initdb holds it too, so that an initdb whose starter was killed has ended
    before another one begins.
    Raises: HomeUnusable; StoreUnavailable when initdb fails.
    """
    data, flag = home.postgres_dir, initialising(home)
    if flag.exists():
        shutil.rmtree(data, ignore_errors=True)
    elif (data / "PG_VERSION").exists():
        return False
    elif data.exists() and any(data.iterdir()):
        raise home_unusable(
            home,
            f"holds something in {data} that is no PostgreSQL cluster",
            "move that folder away",
            path=str(data),
        )
    write_private(flag, "this cluster is being made; it is made anew when this file remains\n")
    data.mkdir(mode=0o700, exist_ok=True)
    way = userns.choose(home, data, postgres_binary("initdb"))
    _initdb(home, way, lock)
    return True


def _initdb(home: Home, way: userns.RunAs, lock: LockHeld) -> None:
    """Run initdb, then bring its files to the disk in one go (each by itself is far slower)."""
    program = [str(postgres_binary("initdb")), f"--pgdata={home.postgres_dir}"]
    reader, writer = os.pipe()
    try:
        os.write(writer, password(home, Login.POSTGRES).encode() + b"\n")
        os.close(writer)
        _run(
            home,
            way.argv(
                [
                    *program,
                    f"--username={SUPERUSER}",
                    f"--pwfile=/dev/fd/{reader}",
                    "--auth=scram-sha-256",
                    "--encoding=UTF8",
                    "--locale=C",
                    "--no-sync",
                    "--no-instructions",
                ]
            ),
            lock.fileno(),
            reader,
        )
    finally:
        os.close(reader)
    _run(home, way.argv([*program, "--sync-only", "--sync-method=syncfs"]), lock.fileno())


def _run(home: Home, argv: list[str], *passed: int) -> None:
    try:
        done = subprocess.run(
            argv,
            env=clean_environment(),
            cwd=home.postgres_dir,
            pass_fds=passed,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=INITDB_S_MAX,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise StoreUnavailable(f"initdb took longer than {INITDB_S_MAX:.0f} s") from error
    if done.returncode != 0:
        raise start_failure(home, "initdb", done.stderr.decode("utf-8", "replace").strip())


def complete(home: Home) -> None:
    """Declare a new cluster complete: its databases and roles are there."""
    initialising(home).unlink()
    sync_dir(home.postgres_dir.parent)


def start_failure(home: Home, what: str, said: str) -> HomeUnusable | StoreUnavailable:
    """Return the error for a server program that gave up, by what it said."""
    lines = said.splitlines()
    last = "; ".join(lines[-3:]) or "it said nothing"
    if "No space left" in said or "Disk quota" in said:
        return home_unusable(home, "is full", "free space on that disk, or choose another home")
    if "Read-only file system" in said:
        return home_unusable(home, "is read-only", "mount it writable, or choose another home")
    return StoreUnavailable(f"the embedded PostgreSQL did not start ({what}): {last}", said=last)


def check_version(home: Home) -> None:
    """Refuse a cluster of another major version. Raises: HomeUnusable."""
    found = (home.postgres_dir / "PG_VERSION").read_text(encoding="ascii").strip()
    if found != str(MAJOR):
        raise home_unusable(
            home,
            f"holds a PostgreSQL {found} cluster and this tradebox brings PostgreSQL {MAJOR}",
            f"dump it with PostgreSQL {found} and load it into a new home, or choose another",
            found=found,
            wanted=str(MAJOR),
        )
