"""`python -m tradebox.backtest.data`: prepares bars beside a lean run; JSON in, JSON lines out.

Rules of this file:
- lines that tell how far it is come first, the answer is the last line.
"""

import sys

from tradebox.backtest.data.prepare import answer_wish


def say(line: bytes) -> None:
    """Write one line now."""
    sys.stdout.buffer.write(line + b"\n")
    sys.stdout.flush()


if __name__ == "__main__":
    try:
        answer, code = answer_wish(sys.stdin.buffer.read(), say)
    except KeyboardInterrupt:  # whoever asked ends too; what was not finished is removed
        sys.exit(130)
    say(answer)
    sys.exit(code)
