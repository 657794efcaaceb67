"""The floor of every hop: bytes over loopback TCP, written and read in one thread.

Rules of this file:
- no loop, no second process: what is left is the kernel's share alone.
"""

import socket
import time

ORDER_BYTES = 300


class Loopback:
    """One TCP connection to ourselves."""

    def __init__(self) -> None:
        listener = socket.create_server(("127.0.0.1", 0))
        self._near = socket.create_connection(listener.getsockname())
        self._far, _ = listener.accept()
        listener.close()
        for one in (self._near, self._far):
            one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def pass_over(self) -> float:
        """Write an order's worth of bytes, read it, and return how many microseconds it took."""
        data, began_ns = b"x" * ORDER_BYTES, time.perf_counter_ns()
        self._near.sendall(data)
        left = len(data)
        while left:
            left -= len(self._far.recv(left))
        return (time.perf_counter_ns() - began_ns) / 1000

    def close(self) -> None:
        self._near.close()
        self._far.close()
