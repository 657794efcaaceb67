"""Which codes may stand in the closing frame of a WebSocket."""

from websockets.frames import EXTERNAL_CLOSE_CODES

from tradebox.errors import ConfigInvalid
from tradebox.sim.faults import Value


def check_close_code(name: str, code: Value) -> None:
    """Refuse a code that may not be sent. Raises ConfigInvalid.

    Source: RFC 6455, section 7.4.
    """
    if code not in EXTERNAL_CLOSE_CODES and not 3000 <= int(code) < 5000:
        raise ConfigInvalid(
            f"{name}: code={code} may not be sent: give 1000 to 1014 or 3000 to 4999",
            field="code",
            value=code,
        )
