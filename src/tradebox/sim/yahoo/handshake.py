"""What the TLS handshake of the Yahoo stand-in can be told to do wrong.

Rules of this file:
- a bad certificate is a whole and valid one of an authority that nobody was told to trust;
- both happen while the client says hello, so that nothing of HTTP is ever said.
"""

import ssl
from functools import cache
from pathlib import Path

from tradebox.sim.faults import FaultBoard
from tradebox.sim.yahoo.authority import server_context


def take_faults(context: ssl.SSLContext, folder: Path, faults: FaultBoard) -> None:
    """Let a server's context have the handshake's faults. folder: keeps the other authority.

    Raises (at the handshake): HomeUnusable if the other certificates cannot be written.
    """

    @cache
    def stranger() -> ssl.SSLContext:
        return server_context(folder)

    def greet(peer: ssl.SSLObject, _name: str, _own: ssl.SSLContext) -> int | None:
        if faults.take("tls_refuse"):
            return ssl.ALERT_DESCRIPTION_HANDSHAKE_FAILURE
        if faults.take("tls_certificate"):
            peer.context = stranger()
        return None

    context.sni_callback = greet
