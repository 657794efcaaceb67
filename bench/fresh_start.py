"""What a restart would be without the launcher: `python -m bench.fresh_start` loads all of it.

Rules of this file:
- it imports what the launcher preloads, runs one turn of the engine's loop, and says when.
"""

import importlib
import time

from tradebox.app.run import PRELOAD


async def _first_turn() -> int:
    return time.monotonic_ns()


def main() -> None:
    """Print the monotonic time of the loop's first turn, in nanoseconds."""
    for name in PRELOAD:
        importlib.import_module(name)
    import uvloop

    print(uvloop.run(_first_turn()), flush=True)


if __name__ == "__main__":
    main()
