"""Writes requirements.lock: every package pinned with hashes, in groups, without addresses.

Groups: run (what tradebox needs), dev (tests and checks), backtest, cluster, peers (other people's
engines, for comparison alone). A later group holds only what the earlier ones do not. Versions
locked before are kept; `--upgrade` lets them move. Needs `uv` on the path and the registry.
"""

import re
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ENTRY = re.compile(r"^(?P<name>[A-Za-z0-9_.-]+)==", re.MULTILINE)
PIN = re.compile(r"^([A-Za-z0-9_.-]+==[^ ]+)", re.MULTILINE)


def resolve(requirements: list[str], constraints: Path) -> dict[str, str]:
    """Return name → lock entry (with hashes) of everything the requirements need."""
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "in.txt"
        source.write_text("\n".join(requirements))
        command = ["uv", "pip", "compile", str(source), "--generate-hashes", "--no-annotate"]
        command += ["--no-header", "--python-version", "3.11", "--no-emit-index-url", "--quiet"]
        command += ["--constraint", str(constraints)]
        text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    starts = [*ENTRY.finditer(text)]
    ends = [match.start() for match in starts[1:]] + [len(text)]
    return {
        match["name"].lower(): text[match.start() : end].rstrip()
        for match, end in zip(starts, ends, strict=True)
    }


def main() -> int:
    """Write the lock file and say how many packages each group holds."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    extras = project["project"]["optional-dependencies"]
    groups = {
        "run": project["project"]["dependencies"] + project["build-system"]["requires"],
        "dev": extras["dev"],
        "backtest": extras["backtest"],
        "cluster": extras["cluster"],
        "peers": extras["peers"],
    }
    lock = ROOT / "requirements.lock"
    held = [] if "--upgrade" in sys.argv else PIN.findall(lock.read_text())
    wanted: list[str] = []
    known: dict[str, str] = {}
    out = ["# Written by `make lock`. Every package with its version and hashes, in groups."]
    with tempfile.TemporaryDirectory() as folder:
        pins = Path(folder) / "pins.txt"
        for group, requirements in groups.items():
            wanted += requirements
            chosen = [entry.split(" ")[0] for entry in known.values()]
            pins.write_text("\n".join({*held, *chosen}))
            fresh = resolve(wanted, pins)
            added = {name: entry for name, entry in fresh.items() if name not in known}
            out += ["", f"# group: {group}", *(added[name] for name in sorted(added))]
            known |= added
            print(f"{group}: {len(added)} packages", file=sys.stderr)
    lock.write_text("\n".join(out) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
