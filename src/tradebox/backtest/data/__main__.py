"""`python -m tradebox.backtest.data`: prepares bars beside a lean run; JSON in, JSON out."""

import sys

from tradebox.backtest.data.prepare import answer_wish

if __name__ == "__main__":
    answer, code = answer_wish(sys.stdin.buffer.read())
    sys.stdout.buffer.write(answer + b"\n")
    sys.stdout.flush()
    sys.exit(code)
