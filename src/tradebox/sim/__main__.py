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
    parser.add_argument("--symbols", type=int, help="trade so many, the further ones synthetic")
    parser.add_argument("--tape", type=Path, help="recorded trades: symbol,at_ns,price,size")
    parser.add_argument("--day", metavar="YYYY-MM-DD", help="where the market begins")
    parser.add_argument(
        "--master-client-id", type=int, default=-1, help="hears of every client's orders; -1: none"
    )
    parser.add_argument(
        "--whole-day", action="store_true", help="play 04:00 to 20:00, not the session alone"
    )
    given = parser.parse_args(argv)
    try:
        options = SimOptions(
            home=given.home,
            speed=given.speed,
            seed=given.seed,
            ports=parse_ports(given.ports or ""),
            as_json=given.json,
            variants=parse_variants(given.variant),
            script=given.script,
            symbols=given.symbols,
            tape=given.tape,
            day=given.day,
            master_client_id=given.master_client_id,
            whole_day=given.whole_day,
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


def parse_variants(pairs: Sequence[str]) -> dict[str, str]:
    """Return the switches of `NAME=VALUE` texts, each once. Raises ConfigInvalid."""
    chosen: dict[str, str] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not (name and equals and value):
            raise ConfigInvalid(
                f"variant={pair!r} is no NAME=VALUE: give e.g. market_depth=walks",
                field="variant",
                value=pair,
            )
        if chosen.setdefault(name, value) != value:
            raise ConfigInvalid(
                f"variant {name} is given twice, {chosen[name]} and {value}: give one",
                field="variant",
                value=pair,
            )
    return chosen


if __name__ == "__main__":
    sys.exit(main())
