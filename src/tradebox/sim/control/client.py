"""Asks a running simulator over its control port; for the command line.

Rules of this file:
- the simulator of a home is found by its folder alone;
- what the simulator refuses is raised with its own words.
"""

import json
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from urllib.parse import urlsplit

from tradebox.errors import ConfigInvalid, NotRunning
from tradebox.sim.home import ready_file

DEADLINE_S = 5.0


def control_url(root: Path) -> str:
    """Return where the simulator of a folder listens for control. Raises NotRunning."""
    try:
        return str(json.loads(ready_file(root).read_bytes())["control"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise NotRunning(
            f"no simulator runs in {root}: start one by `tradebox run` or `tradebox sim`",
            field="home",
            value=str(root),
        ) from error


def ask(root: Path, path: str, body: dict[str, object] | None = None) -> dict[str, object]:
    """Return the answer to a GET, or to a POST where there is a body.

    Raises: NotRunning if nothing answers; ConfigInvalid if it refuses.
    """
    url = urlsplit(control_url(root))
    connection = HTTPConnection(url.hostname or "", url.port, timeout=DEADLINE_S)
    try:
        if body is None:
            connection.request("GET", path)
        else:
            connection.request("POST", path, json.dumps(body))
        answer = connection.getresponse()
        status, data = answer.status, json.loads(answer.read())
    except (OSError, HTTPException, ValueError) as error:
        raise NotRunning(
            f"the simulator at {url.netloc} does not answer ({error}): is it still running?",
            field="home",
            value=str(root),
        ) from error
    finally:
        connection.close()
    if status != 200:
        fields = {key: value for key, value in data.items() if key in ("field", "value")}
        raise ConfigInvalid(str(data["error"]), **fields)
    return dict(data)
