"""Private folders: those of the home, and the short one that holds the Unix sockets.

Rules of this file:
- folders are 0700 and ours; one that is a link or another user's is refused, never repaired;
- modes of folders outside the home and the socket folder are never changed;
- an unusable home is one error that names field, value and fix.
"""

import contextlib
import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from tradebox.config import Home
from tradebox.errors import HomeUnusable

SOCKET_PATH_BYTES_MAX = 107
"""What sockaddr_un holds on Linux, without its closing zero."""

_CAUSES = {
    errno.ENOSPC: ("is full", "free space on that disk, or choose another home"),
    errno.EDQUOT: ("is over its quota", "free space, or choose another home"),
    errno.EROFS: ("is read-only", "mount it writable, or choose another home"),
    errno.EACCES: ("cannot be written by this user", "give it to this user, or choose another"),
    errno.EPERM: ("cannot be changed by this user", "give it to this user, or choose another"),
    errno.ENOTDIR: ("has a file where a folder must be", "move that file, or choose another home"),
    errno.EEXIST: ("has a file where a folder must be", "move that file, or choose another home"),
    errno.ENOENT: ("lies where no folder can be made", "choose another home"),
    errno.ELOOP: ("is a link that leads to itself", "remove the link, or choose another home"),
    errno.EIO: ("cannot be read or written by its disk", "look at the disk, choose another home"),
    errno.ENAMETOOLONG: ("has too long a path", "choose a shorter home"),
}


def home_unusable(home: Home, what: str, fix: str, **fields: object) -> HomeUnusable:
    """Return the error that says what is wrong with the home and how to set it right."""
    message = f"home={str(home.root)!r} {what}: {fix} (TRADEBOX_HOME or --home)"
    return HomeUnusable(message, field="home", value=str(home.root), fix=fix, **fields)


@contextlib.contextmanager
def usable(home: Home) -> Iterator[None]:
    """Turn the operating system's refusals inside the block into HomeUnusable.

    Raises: HomeUnusable with field, value and fix; other errors pass through.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in _CAUSES:
            raise
        what, fix = _CAUSES[error.errno]
        raise home_unusable(home, what, fix, path=str(error.filename)) from error


def write_private(path: Path, text: str) -> None:
    """Write a file of mode 0600 so that a reader sees the old text or the new, never half."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
    sync_dir(path.parent)


def sync_dir(path: Path) -> None:
    """Make the names in a folder survive a power cut."""
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def socket_dir(home: Home, name: str, *, owner: int | None = None) -> Path:
    """Make and return the folder of one server's socket under the home's socket folder.

    Units:   owner: the uid that will write into it; None = ours.
    Raises:  HomeUnusable: the folder is a link or another user's, or its path is too long.
    """
    for _ in range(100):
        _own_dir(home.socket_dir, os.geteuid())
        try:
            return _own_dir(home.socket_dir / name, owner)
        except FileNotFoundError:
            continue  # another server's stop removed the empty parent in between
    raise home_unusable(home, "has a socket folder that vanishes", "stop what removes it")


def check_socket_dir(home: Home, longest: str) -> None:
    """Refuse, before anything is made, a socket folder that could not be used.

    longest: the longest path below the home's socket folder that will be bound.
    Raises:  HomeUnusable.
    """
    socket_path(home, home.socket_dir, longest)
    _own_dir(home.socket_dir, os.geteuid())


def _own_dir(path: Path, owner: int | None) -> Path:
    wanted = os.geteuid() if owner is None else owner
    with contextlib.suppress(FileExistsError):
        path.mkdir(mode=0o700)
    info = path.lstat()
    if not stat.S_ISDIR(info.st_mode) or info.st_uid not in {os.geteuid(), wanted}:
        raise HomeUnusable(
            f"socket folder {str(path)!r} is a link or belongs to uid {info.st_uid}:"
            " remove it, or point TMPDIR to a folder of your own",
            field="TMPDIR",
            value=str(path),
            fix="remove it, or point TMPDIR to a folder of your own",
        )
    if info.st_uid != wanted:
        os.chown(path, wanted, -1, follow_symlinks=False)
    if stat.S_IMODE(info.st_mode) != 0o700:
        path.chmod(0o700)
    return path


def socket_path(home: Home, folder: Path, name: str) -> Path:
    """Return the path of a socket that the kernel can bind.

    Raises: HomeUnusable when it holds more than 107 bytes.
    """
    path = folder / name
    if len(os.fsencode(path)) > SOCKET_PATH_BYTES_MAX:
        raise HomeUnusable(
            f"TMPDIR={str(home.socket_dir.parent)!r} is too long for a Unix socket"
            f" ({SOCKET_PATH_BYTES_MAX} bytes): point TMPDIR to a shorter folder",
            field="TMPDIR",
            value=str(home.socket_dir.parent),
            fix="point TMPDIR to a shorter folder",
        )
    return path


def remove_socket_dir(home: Home, folder: Path) -> None:
    """Remove a stopped server's socket folder, and the home's when it was the last.

    Holds: a folder that is not one of this home (a restored backup names any) or not ours is left
           alone.
    """
    try:
        parent = folder.parent.lstat()
    except FileNotFoundError:
        return
    is_ours = stat.S_ISDIR(parent.st_mode) and parent.st_uid == os.geteuid()
    if not is_ours or folder.parent.name != home.socket_dir.name:
        return
    with contextlib.suppress(FileNotFoundError):
        for left in folder.iterdir():
            left.unlink(missing_ok=True)
    for path in (folder, folder.parent):
        with contextlib.suppress(OSError):
            path.rmdir()
