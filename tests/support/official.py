"""The official client, unmodified, in a thread: what it sees of an account."""

import threading
import warnings

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from ibapi.client import EClient
    from ibapi.wrapper import EWrapper

DEADLINE_S = 20.0
TRIES = 4


class Seen(EWrapper):
    """Keeps what the gateway says about positions and open orders."""

    def __init__(self):
        super().__init__()
        self.is_up = threading.Event()
        self.positions_end = threading.Event()
        self.orders_end = threading.Event()
        self.account = ""
        self.positions = {}
        self.orders = {}
        self.errors = []

    def nextValidId(self, orderId):  # noqa: N802, N803 - the library's name
        self.is_up.set()

    def managedAccounts(self, accountsList):  # noqa: N802, N803
        self.account = accountsList

    def position(self, account, contract, position, avgCost):  # noqa: N803
        if position:
            self.positions[contract.symbol] = int(position)

    def positionEnd(self):  # noqa: N802
        self.positions_end.set()

    def openOrder(self, orderId, contract, order, orderState):  # noqa: N802, N803
        self.orders[order.orderRef] = (contract.symbol, order.action, int(order.totalQuantity))

    def openOrderEnd(self):  # noqa: N802
        self.orders_end.set()

    def error(self, *arguments):
        """Notices of data farms are none of a test's business; they tell why there is no answer."""
        self.errors.append(arguments)


class OfficialClient:
    """Connected on entering, its thread ended on leaving."""

    def __init__(self, address, client_id):
        self._address, self._client_id = address, client_id
        self._make()

    def _make(self):
        self.seen = Seen()
        self._client = EClient(self.seen)
        self._thread = threading.Thread(target=self._client.run, daemon=True)

    def __enter__(self):
        """Connect; the session before under this id may take a moment to be let go."""
        errors = []
        for _ in range(TRIES):
            self._client.connect(*self._address, self._client_id)
            self._thread.start()
            if self.seen.is_up.wait(DEADLINE_S / TRIES):
                return self
            self.__exit__()
            errors += self.seen.errors
            self._make()
        raise AssertionError(f"no nextValidId: {errors}")

    def __exit__(self, *_):
        self._client.disconnect()
        self._thread.join(DEADLINE_S)
        assert not self._thread.is_alive()

    def look(self):
        """Return (positions by symbol, open orders by orderRef) as they are now."""
        seen = self.seen
        seen.positions, seen.orders = {}, {}
        seen.positions_end.clear()
        seen.orders_end.clear()
        self._client.reqPositions()
        assert seen.positions_end.wait(DEADLINE_S)
        self._client.cancelPositions()
        self._client.reqAllOpenOrders()
        assert seen.orders_end.wait(DEADLINE_S)
        return dict(seen.positions), dict(seen.orders)
