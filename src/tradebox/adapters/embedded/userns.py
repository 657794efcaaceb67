"""How PostgreSQL runs when we are root: it refuses uid 0, and the home stays 0700.

Rules of this file:
- a plain user runs it directly;
- root runs it in a user namespace in which its own uid has another number: owner and modes of
  every file stay as they are;
- where namespaces are refused, an unprivileged uid may read (not write) past folder modes, and
  owns the data folder;
- where neither works the home is refused, with both reasons.
"""

import os
import pwd
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tradebox.adapters.embedded.folders import home_unusable
from tradebox.adapters.embedded.processes import clean_environment
from tradebox.config import Home

NOBODY_UID = 65534
_PROBE_S = 10.0


@dataclass(frozen=True, slots=True)
class RunAs:
    """A way to run the binaries: argv to put before theirs, and who then owns what they write."""

    name: str
    prefix: tuple[str, ...]
    uid: int

    def argv(self, command: Sequence[str]) -> list[str]:
        """Return the command with the prefix that changes its identity."""
        return [*self.prefix, *command]


def _namesake_uid() -> int:
    """Return an unprivileged uid that has a name, which initdb looks up."""
    uids = {entry.pw_uid for entry in pwd.getpwall()} - {0}
    return NOBODY_UID if NOBODY_UID in uids or not uids else min(uids)


def in_namespace() -> RunAs | None:
    """Return the user-namespace way, or None without its tool."""
    tool = shutil.which("unshare")
    if tool is None:
        return None
    uid = _namesake_uid()
    prefix = (tool, "-U", f"--map-user={uid}", f"--map-group={uid}", "--")
    return RunAs("namespace", prefix, os.geteuid())


def as_nobody() -> RunAs | None:
    """Return the unprivileged-uid way, or None without its tool."""
    tool = shutil.which("setpriv")
    if tool is None:
        return None
    uid, reads = _namesake_uid(), "+dac_read_search"
    prefix = (
        tool,
        f"--reuid={uid}",
        f"--regid={uid}",
        "--clear-groups",
        f"--inh-caps=-all,{reads}",
        f"--ambient-caps=-all,{reads}",
        f"--bounding-set=-all,{reads}",
        "--",
    )
    return RunAs("nobody", prefix, uid)


def _refusal(way: RunAs | None, tool: str, folder: Path, binary: Path) -> str | None:
    """Return why this way cannot write the folder and run the binary; None when it can."""
    if way is None:
        return f"{tool} is not installed"
    os.chown(folder, way.uid, -1, follow_symlinks=False)
    script = 'test -w "$0" && test -x "$0" && test -x "$1" && test "$(id -u)" != 0'
    try:
        done = subprocess.run(
            way.argv(["/bin/sh", "-c", script, str(folder), str(binary)]),
            env=clean_environment(),
            capture_output=True,
            timeout=_PROBE_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"{tool}: {error}"
    if done.returncode == 0:
        return None
    said = done.stderr.decode("utf-8", "replace").strip()
    return f"{tool}: {said or f'cannot reach {folder}'}"


def choose(home: Home, folder: Path, binary: Path) -> RunAs:
    """Return the first way that can write `folder` and run `binary`.

    Raises: HomeUnusable when we are root and no way works.
    """
    if os.geteuid() != 0:
        return RunAs("direct", (), os.geteuid())
    reasons: list[str] = []
    for way, tool in ((in_namespace(), "unshare"), (as_nobody(), "setpriv")):
        reason = _refusal(way, tool, folder, binary)
        if reason is None and way is not None:
            _own_tree(folder, way.uid)
            return way
        reasons.append(str(reason))
    raise home_unusable(
        home,
        f"cannot hold PostgreSQL for root ({'; '.join(reasons)})",
        "run tradebox as a plain user, or set TRADEBOX_POSTGRES_URL to a server of yours",
    )


def _own_tree(folder: Path, uid: int) -> None:
    """Give what an earlier way wrote to the one that runs now; modes stay."""
    for parent, folders, files in os.walk(folder):
        for name in (*folders, *files):
            path = os.path.join(parent, name)  # noqa: PTH118 - thousands of names at each start
            if os.lstat(path).st_uid != uid:
                os.chown(path, uid, -1, follow_symlinks=False)
