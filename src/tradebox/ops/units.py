"""The systemd units of tradebox, for the system or for one user: the run, and scans on a timer.

Rules of this file:
- the launcher restarts the engine by itself; systemd restarts the launcher, and hears of both;
- a refusal (exit codes of ExitCode that a restart cannot heal) is not restarted;
- /tmp stays shared: the sockets are there, and `tradebox status` finds them from any session;
- a scan is a process of its own at the lowest priority: the engine neither starts nor awaits it.

Source: systemd.service(5), systemd.exec(5), systemd.syntax(7), systemd.timer(5), systemd.time(7).
"""

import os
import pwd
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tradebox.errors import ConfigInvalid, ExitCode, NotDone

NAME: Final = "tradebox.service"
SCAN_NAME: Final = "tradebox-scan@.service"
TIMER_NAME: Final = "tradebox-scan@.timer"
"""Templates: the instance is the account, as in `tradebox-scan@paper.timer`."""

SCAN_AT: Final = "Mon..Fri 18:30 America/New_York"
"""After the close, when the day's bars are there; on a holiday nothing new is proposed."""

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
    """What the units run. user: who runs them; None makes the units of a user manager."""

    python: Path
    home: Path
    user: str | None
    scan_at: str = SCAN_AT

    def files(self) -> dict[str, str]:
        """Return every unit file by its name."""
        return {NAME: self.text(), SCAN_NAME: self.scan_text(), TIMER_NAME: self.timer_text()}

    def text(self) -> str:
        """Return the unit file of the run."""
        hopeless = " ".join(str(code.value) for code in HOPELESS)
        lines = [
            *self._head("tradebox: supervised trading"),
            "StartLimitIntervalSec=60",
            "StartLimitBurst=10",
            "",
            "[Service]",
            "Type=notify",
            "NotifyAccess=main",
            f"ExecStart={self._command('run', '--no-tui')}",
            "WatchdogSec=5",
            "Restart=always",
            "RestartSec=0",
            f"RestartPreventExitStatus={hopeless}",
            "TimeoutStartSec=120",
            "TimeoutStopSec=15",
            "KillMode=mixed",
            "OOMPolicy=continue",
            *self._confined(),
            "",
            "[Install]",
            f"WantedBy={'default.target' if self.user is None else 'multi-user.target'}",
            "",
        ]
        return "\n".join(lines)

    def scan_text(self) -> str:
        """Return the unit file of one scan of the account that the instance names."""
        lines = [
            *self._head("tradebox: plan proposals for %i"),
            "",
            "[Service]",
            "Type=oneshot",
            f"ExecStart={self._command('scan')} --account %i",
            "Nice=19",
            "TimeoutStartSec=3600",
            *self._confined(),
            "",
        ]
        return "\n".join(lines)

    def timer_text(self) -> str:
        """Return the timer of the scans; one that was missed is made up for."""
        lines = [
            "[Unit]",
            "Description=tradebox: plan proposals for %i on each trading day",
            "",
            "[Timer]",
            f"OnCalendar={self.scan_at}",
            "Persistent=true",
            "",
            "[Install]",
            "WantedBy=timers.target",
            "",
        ]
        return "\n".join(lines)

    def _head(self, description: str) -> list[str]:
        network = [] if self.user is None else ["network-online.target"]
        return [
            "[Unit]",
            f"Description={description}",
            "Documentation=man:systemd.service(5)",
            *[f"Wants={name}" for name in network],
            *[f"After={name}" for name in network],
        ]

    def _command(self, *words: str) -> str:
        every = [str(self.python), "-m", "tradebox", *words, "--home", str(self.home)]
        return " ".join(quoted(word) for word in every)

    def _confined(self) -> list[str]:
        lines = [*([] if self.user is None else [f"User={self.user}"]), *COMMON]
        if self.user is None:
            return lines
        paths = [quoted(str(self.home), command=False), "/tmp"]  # noqa: S108 - the sockets' place
        lines += [*SYSTEM_ONLY, f"ReadWritePaths={' '.join(paths)}"]
        if self.user != "root":
            lines.append("CapabilityBoundingSet=")
        return lines


def check_calendar(scan_at: str) -> None:
    """Refuse a time that systemd does not understand, where it can be asked. Raises ConfigInvalid.

    Holds: what passes is one line.
    """
    program = shutil.which("systemd-analyze")
    is_wrong = not scan_at.strip() or not scan_at.isprintable()
    if not is_wrong and program is not None:
        done = subprocess.run(
            [program, "calendar", "--", scan_at],
            capture_output=True,
            timeout=VERIFY_S,
            check=False,
        )
        is_wrong = done.returncode != 0
    if is_wrong:
        raise ConfigInvalid(
            f"--scan-at={scan_at!r}: no time that systemd knows: write it as {SCAN_AT!r}",
            field="scan-at",
            value=scan_at,
        )


def quoted(word: str, *, command: bool = True) -> str:
    """Return a word as systemd reads it back, specifiers and variables switched off.

    Holds: a newline cannot end the line. command: in ExecStart, where $ begins a variable.
    """
    escaped = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    escaped = escaped.replace("\n", "\\n").replace("\t", "\\t")
    return f'"{escaped.replace("$", "$$") if command else escaped}"'


def unit_path(*, is_user: bool, config_home: Path | None = None) -> Path:
    """Return where the unit of the run belongs; the others stand beside it."""
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
    # A user manager's words need a folder of its own to begin with: any one, and it is written to.
    with tempfile.TemporaryDirectory(prefix="tradebox-verify-") as folder:
        done = subprocess.run(
            [program, *scope, "--recursive-errors=no", "verify", str(path)],
            capture_output=True,
            text=True,
            timeout=VERIFY_S,
            check=False,
            env={"XDG_RUNTIME_DIR": folder, **os.environ},
        )
    said = [line for line in (done.stdout + done.stderr).splitlines() if path.name in line]
    if done.returncode != 0 and not said:
        said = (done.stdout + done.stderr).splitlines() or [f"exit code {done.returncode}"]
    return said if done.returncode != 0 else []
