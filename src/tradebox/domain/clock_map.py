"""The simulator's market time as a pure function of the machine's monotonic clock.

Rules of this file:
- everything is an integer, so that every process that holds the same map sees the same time;
- a map is granted up to a lease: beyond it time stands still, so a dead simulator's clock freezes;
- a jump over closed hours is part of the map, so that every reader makes it at the same moment.
"""

import json
from dataclasses import dataclass

PPM = 1_000_000


@dataclass(frozen=True, slots=True)
class ClockMap:
    """Market time = anchor + (monotonic time - anchor) x speed, up to the lease.

    Units: nanoseconds; market times are UTC epoch; speed in millionths of market per real time.
    Holds: `at` never falls as monotonic time rises; no result exceeds `end_ns`;
           a map that `decode` read from `encode` is the same map.
    """

    market_ns: int
    mono_ns: int
    speed_ppm: int
    lease_mono_ns: int
    jump_from_ns: int = 0
    jump_to_ns: int = 0

    def __post_init__(self) -> None:
        assert self.speed_ppm > 0, self.speed_ppm
        assert self.jump_to_ns >= self.jump_from_ns >= 0, (self.jump_from_ns, self.jump_to_ns)

    @property
    def speed(self) -> float:
        """Return the market seconds per real second."""
        return self.speed_ppm / PPM

    @property
    def has_jump(self) -> bool:
        """Say whether a jump lies on this map."""
        return self.jump_to_ns > self.jump_from_ns

    def at(self, mono_ns: int) -> int:
        """Return the market time at a monotonic time."""
        passed = max(0, min(mono_ns, self.lease_mono_ns) - self.mono_ns)
        market_ns = self.market_ns + passed * self.speed_ppm // PPM
        if self.has_jump and market_ns >= self.jump_from_ns:
            market_ns += self.jump_to_ns - self.jump_from_ns
        return market_ns

    def end_ns(self) -> int:
        """Return the market time at the lease's end: no reader ever saw a later one."""
        return self.at(self.lease_mono_ns)

    def mono_of(self, market_ns: int) -> int:
        """Return the first monotonic time at which the market time is reached, lease apart."""
        if self.has_jump and market_ns > self.jump_from_ns:
            skipped = self.jump_to_ns - self.jump_from_ns
            market_ns = max(self.jump_from_ns, market_ns - skipped)
        return self.mono_ns + -(-max(0, market_ns - self.market_ns) * PPM // self.speed_ppm)

    def encode(self) -> str:
        """Return the map as the JSON text of the clock file."""
        jump = {"from_ns": self.jump_from_ns, "to_ns": self.jump_to_ns} if self.has_jump else None
        return json.dumps(
            {
                "market_ns": self.market_ns,
                "mono_ns": self.mono_ns,
                "speed": self.speed,
                "lease_mono_ns": self.lease_mono_ns,
                "jump": jump,
            }
        )

    @classmethod
    def decode(cls, text: str | bytes) -> "ClockMap":
        """Read the JSON text of a clock file.

        Raises: ValueError if it is not one.
        """
        try:
            data = json.loads(text)
            jump = data["jump"] or {"from_ns": 0, "to_ns": 0}
            result = cls(
                market_ns=int(data["market_ns"]),
                mono_ns=int(data["mono_ns"]),
                speed_ppm=speed_to_ppm(data["speed"]),
                lease_mono_ns=int(data["lease_mono_ns"]),
                jump_from_ns=int(jump["from_ns"]),
                jump_to_ns=int(jump["to_ns"]),
            )
        except (TypeError, KeyError, OverflowError, AssertionError) as error:
            raise ValueError(f"no clock file: {error!r}") from error
        return result


def speed_to_ppm(speed: float) -> int:
    """Return a speed in millionths. Raises ValueError if it is not above zero and finite."""
    if not 0 < speed < PPM:
        raise ValueError(f"speed {speed} is not above 0 and below {PPM}")
    return max(1, round(speed * PPM))
