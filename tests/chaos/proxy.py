"""A wire between a client and the broker that can be cut, and made slow."""

import contextlib
import socket
import threading
import time

PIECE = 1 << 16


class Proxy:
    """Forwards TCP from its own loopback port to another.

    Attributes:
        port: What clients connect to.
        delay_s: How long each piece of data waits, in either direction.
    """

    def __init__(self) -> None:
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._server.getsockname()[1]
        self.delay_s = 0.0
        self._target = 0
        self._cut = False
        self._pairs: set[tuple[socket.socket, socket.socket]] = set()
        self._lock = threading.Lock()

    def forward(self, port: int) -> None:
        """Begin to forward to a port."""
        self._target = port
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        """Break all connections, and every new one at once."""
        self._cut = True
        with self._lock:
            pairs, self._pairs = self._pairs, set()
        for pair in pairs:
            _close(pair)

    def mend(self) -> None:
        """Forward again."""
        self._cut = False

    def close(self) -> None:
        self.cut()
        self._server.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._server.accept()
            except OSError:
                return
            try:
                broker = socket.create_connection(("127.0.0.1", self._target), timeout=5)
            except OSError:
                client.close()
                continue
            broker.settimeout(None)
            pair = client, broker
            with self._lock:
                self._pairs.add(pair)
            if self._cut:
                _close(pair)
            for one, other in (pair, pair[::-1]):
                threading.Thread(target=self._pump, args=(one, other, pair), daemon=True).start()

    def _pump(
        self, one: socket.socket, other: socket.socket, pair: tuple[socket.socket, socket.socket]
    ) -> None:
        with contextlib.suppress(OSError):
            while piece := one.recv(PIECE):
                if self.delay_s:
                    time.sleep(self.delay_s)
                other.sendall(piece)
        _close(pair)
        with self._lock:
            self._pairs.discard(pair)


def _close(pair: tuple[socket.socket, socket.socket]) -> None:
    for sock in pair:
        with contextlib.suppress(OSError):
            sock.shutdown(socket.SHUT_RDWR)
        sock.close()
