"""Alertmanager (API v2): what is open fires there, what has closed is resolved."""

import msgspec

from detector.clock import Clock
from detector.records import Partition
from detector.relay.alert import Told
from detector.relay.board import Board
from detector.relay.endpoint import Answer, Endpoint
from detector.relay.outlet import Heard, Outlet

PATH = "/api/v2/alerts"
HEADERS = {"Content-Type": "application/json"}
BATCH = 200  # alerts told again in a request

_encode = msgspec.json.Encoder().encode


class Alertmanager(Outlet):
    """Tells Alertmanager of alerts, and tells it again of those that are open."""

    replays = True

    def __init__(self, endpoint: Endpoint, board: Board, clock: Clock) -> None:
        """Keep what it should know on `board`."""
        self._endpoint = endpoint
        self._board = board
        self._clock = clock

    def offer(self, heard: Heard, told: Told) -> Answer | None:
        """Tell of a message; see `Outlet.offer`."""
        now_s = self._clock.now_s()
        posts = self._board.take(heard, told, now_s)
        return self._endpoint.post(_encode(posts), HEADERS, now_s) if posts else None

    def learn(self, heard: Heard, told: Told) -> None:
        """Note a message that was told before; see `Outlet.learn`."""
        self._board.learn(heard, told, self._clock.now_s())

    def begin(self, partition: Partition) -> None:
        """What is open of a partition is known; see `Outlet.begin`."""
        self._board.begin(partition)

    def drop(self, partition: Partition) -> None:
        """Forget a partition; what fires of it ends by itself if nobody else has it."""
        self._board.drop(partition)

    def keep(self) -> Answer | None:
        """Tell again of what is open; see `Outlet.keep`."""
        now_s = self._clock.now_s()
        entries, posts = self._board.due(now_s, BATCH)
        if not entries:
            return None
        answer = self._endpoint.post(_encode(posts), HEADERS, now_s)
        # Of a request with one bad alert in it Alertmanager takes the others.
        if answer.good or answer.refused:
            self._board.told(entries, now_s)
        return answer

    def holds(self) -> tuple[int, int]:
        """Return how many are open, and were forgotten; see `Outlet.holds`."""
        return self._board.open, self._board.forgotten
