"""`python -m tradebox.backtest.data`: prepares bars beside a lean run; JSON in, JSON out."""

import sys

from tradebox.backtest.data.prepare import answer_wish

if __name__ == "__main__":
    try:
        answer, code = answer_wish(sys.stdin.buffer.read())
    except KeyboardInterrupt:  # whoever asked ends too; what was not finished is removed
        sys.exit(130)
    sys.stdout.buffer.write(answer + b"\n")
    sys.stdout.flush()
    sys.exit(code)
