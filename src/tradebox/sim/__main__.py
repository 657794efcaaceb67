"""`python -m tradebox.sim`: the stand-in world alone, without the rest of tradebox."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from tradebox.errors import ConfigInvalid, TradeboxError
from tradebox.sim.runner import SERVERS, SPEED_MAX, SPEED_MIN, SimOptions, run_sim


def main(argv: Sequence[str] | None = None) -> int:
    """Run the simulator and return its exit code; a refusal is one line on stderr."""
    parser = argparse.ArgumentParser(prog="python -m tradebox.sim", description=__doc__)
    parser.add_argument("--home", type=Path, required=True, help="keeps accounts, orders, time")
    parser.add_argument(
        "--speed", type=float, default=20.0, help=f"market time, {SPEED_MIN} to {SPEED_MAX:g}"
    )
    parser.add_argument("--seed", type=int, help="another course of the market")
    parser.add_argument("--ports", help=f"{','.join(SERVERS)}; 0 for any")
    parser.add_argument("--json", action="store_true", help="say ready by one JSON line")
    parser.add_argument("--script", type=Path, help="orders, cancels and faults, as JSON lines")
    parser.add_argument(
        "--variant", action="append", default=[], metavar="NAME=VALUE", help="see GET /variants"
    )
    parser.add_argument(
        "--symbols", type=int, default=0, help="trade so many, the further ones synthetic"
    )
    parser.add_argument("--tape", type=Path, help="recorded trades: symbol,at_ns,price,size")
    given = parser.parse_args(argv)
    try:
        options = SimOptions(
            home=given.home,
            speed=given.speed,
            seed=given.seed,
            ports=parse_ports(given.ports or ""),
            as_json=given.json,
            variants=dict(pair.partition("=")[::2] for pair in given.variant),
            script=given.script,
            symbols=given.symbols,
            tape=given.tape,
        )
        return run_sim(options)
    except TradeboxError as error:
        sys.stderr.write(f"tradebox sim: {error.message}\n")
        return error.exit_code


def parse_ports(text: str) -> tuple[int, ...]:
    """Return the numbers of `a,b,c,d,e,f`; none for an empty text. Raises ConfigInvalid."""
    try:
        return tuple(int(part) for part in text.split(",")) if text else ()
    except ValueError as error:
        raise ConfigInvalid(
            f"ports={text!r} is no list of numbers: give {','.join(SERVERS)}",
            field="ports",
            value=text,
        ) from error


if __name__ == "__main__":
    sys.exit(main())
