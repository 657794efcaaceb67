"""The systemd unit of `tradebox run`, for the system or for one user.

Rules of this file:
- the launcher restarts the engine by itself; systemd restarts the launcher, and hears of both;
- a refusal (exit codes of ExitCode that a restart cannot heal) is not restarted;
- /tmp stays shared: the sockets are there, and `tradebox status` finds them from any session.

Source: systemd.service(5), systemd.exec(5), systemd.syntax(7).
"""

import os
import pwd
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tradebox.errors import ExitCode, NotDone

NAME: Final = "tradebox.service"
SYSTEM_FOLDER: Final = Path("/etc/systemd/system")
VERIFY_S: Final = 30.0
HOPELESS: Final = (ExitCode.CONFIG, ExitCode.HOME, ExitCode.ADDRESS)
"""Ends that the same start would meet again."""

COMMON: Final = (
    "NoNewPrivileges=yes",
    "RestrictSUIDSGID=yes",
    "RestrictRealtime=yes",
    "LockPersonality=yes",
    "SystemCallArchitectures=native",
    "RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK",
    "UMask=0077",
)
SYSTEM_ONLY: Final = (
    "ProtectSystem=strict",
    "ProtectHome=read-only",
    "ProtectKernelTunables=yes",
    "ProtectKernelModules=yes",
    "ProtectKernelLogs=yes",
    "ProtectControlGroups=yes",
    "ProtectClock=yes",
    "ProtectHostname=yes",
    "PrivateDevices=yes",
)


@dataclass(frozen=True, slots=True)
class Unit:
    """What one unit runs. user: who runs it; None makes the unit of a user manager."""

    python: Path
    home: Path
    user: str | None

    def text(self) -> str:
        """Return the unit file."""
        command = [str(self.python), "-m", "tradebox", "run", "--no-tui", "--home", str(self.home)]
        hopeless = " ".join(str(code.value) for code in HOPELESS)
        lines = [
            "[Unit]",
            "Description=tradebox: supervised trading",
            "Documentation=man:systemd.service(5)",
            *([] if self.user is None else ["Wants=network-online.target"]),
            *([] if self.user is None else ["After=network-online.target"]),
            "StartLimitIntervalSec=60",
            "StartLimitBurst=10",
            "",
            "[Service]",
            "Type=notify",
            "NotifyAccess=main",
            f"ExecStart={' '.join(quoted(word) for word in command)}",
            "WatchdogSec=5",
            "Restart=always",
            "RestartSec=0",
            f"RestartPreventExitStatus={hopeless}",
            "TimeoutStartSec=120",
            "TimeoutStopSec=15",
            "KillMode=mixed",
            "OOMPolicy=continue",
            *([] if self.user is None else [f"User={self.user}"]),
            *COMMON,
            *([] if self.user is None else self._system_lines()),
            "",
            "[Install]",
            f"WantedBy={'default.target' if self.user is None else 'multi-user.target'}",
            "",
        ]
        return "\n".join(lines)

    def _system_lines(self) -> list[str]:
        paths = [quoted(str(self.home), command=False), "/tmp"]  # noqa: S108 - the sockets' place
        lines = [*SYSTEM_ONLY, f"ReadWritePaths={' '.join(paths)}"]
        if self.user != "root":
            lines.append("CapabilityBoundingSet=")
        return lines


def quoted(word: str, *, command: bool = True) -> str:
    """Return a word as systemd reads it back, specifiers and variables switched off.

    Holds: a newline cannot end the line. command: in ExecStart, where $ begins a variable.
    """
    escaped = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    escaped = escaped.replace("\n", "\\n").replace("\t", "\\t")
    return f'"{escaped.replace("$", "$$") if command else escaped}"'


def unit_path(*, is_user: bool, config_home: Path | None = None) -> Path:
    """Return where the unit belongs."""
    if not is_user:
        return SYSTEM_FOLDER / NAME
    told = os.environ.get("XDG_CONFIG_HOME")
    base = config_home or (Path(told) if told else Path.home() / ".config")
    return base / "systemd" / "user" / NAME


def invoker() -> str:
    """Return the name of the user who is to run the service: who called sudo, else who we are."""
    return os.environ.get("SUDO_USER") or pwd.getpwuid(os.getuid()).pw_name


def install(path: Path, text: str) -> None:
    """Write the unit, whole or not at all. Raises NotDone where the folder cannot be written."""
    fresh = path.with_suffix(".new")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh.write_text(text, encoding="utf-8")
        fresh.chmod(0o644)
        fresh.replace(path)
    except OSError as error:
        raise NotDone(
            f"{path} cannot be written ({error.strerror}): use sudo, or --user", path=str(path)
        ) from error


def prepare_home(home: Path, user: str | None) -> None:
    """Make the home, which a sandboxed service cannot. Raises NotDone where that is refused."""
    if home.exists():
        return
    try:
        home.mkdir(mode=0o700, parents=True)
        if user is not None and os.getuid() == 0:
            owner = pwd.getpwnam(user)
            os.chown(home, owner.pw_uid, owner.pw_gid)
    except OSError as error:
        raise NotDone(f"home {home} cannot be made ({error.strerror})", home=str(home)) from error


def verify(path: Path, *, is_user: bool) -> list[str] | None:
    """Return what systemd-analyze says against the unit, None where there is no such program."""
    program = shutil.which("systemd-analyze")
    if program is None:
        return None
    scope = ["--user"] if is_user else []
    folder = {"XDG_RUNTIME_DIR": str(path.parent)}  # a user manager's words need one, any one
    done = subprocess.run(
        [program, *scope, "--recursive-errors=no", "verify", str(path)],
        capture_output=True,
        text=True,
        timeout=VERIFY_S,
        check=False,
        env={**folder, **os.environ},
    )
    said = [line for line in (done.stdout + done.stderr).splitlines() if NAME in line]
    if done.returncode != 0 and not said:
        said = (done.stdout + done.stderr).splitlines() or [f"exit code {done.returncode}"]
    return said if done.returncode != 0 else []
