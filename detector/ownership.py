"""Which partitions are ours: follows the group, and brings their state in."""

from functools import partial

from detector.changelog import Changelog
from detector.clock import Clock
from detector.errors import ConnectionLost
from detector.lane import Keeping, Lane
from detector.ledger import Ledger
from detector.partitions import Held
from detector.patience import Patience
from detector.recorder import Recorder
from detector.records import Chunk, Partition, Polled
from detector.restore import Resumed, made_by
from detector.routes import Routes
from detector.source import Source

# How long a turn waits for kept state, or for records while there is kept state to read.
LOAD_TIMEOUT_S = 0.05


class Ownership:
    """The partitions that are ours, and how far each was read.

    Attributes:
        held: Each from its assignment to its revocation.
        ledger: Their positions.
        routes: What takes which of their streams.
    """

    def __init__(
        self,
        source: Source,
        changelog: Changelog | None,
        patience: Patience,
        recorder: Recorder,
        clock: Clock,
        keeping: Keeping,
        routes: Routes,
    ) -> None:
        """Wire it; without a changelog every partition begins anew."""
        self.held: dict[Partition, Held] = {}
        self.ledger = Ledger()
        self._source = source
        self._changelog = changelog
        self._patience = patience
        self._recorder = recorder
        self._clock = clock
        self._keeping = keeping
        self.routes = routes

    @property
    def loading(self) -> list[Held]:
        """Those whose state is being read, or will be."""
        return [held for held in self.held.values() if held.phase in {"waiting", "loading"}]

    @property
    def live(self) -> list[Held]:
        """Those whose records count."""
        return [held for held in self.held.values() if held.phase == "live"]

    @property
    def streams(self) -> int:
        """How many streams there are in all of them."""
        return sum(held.streams for held in self.held.values())

    def move(self, polled: Polled) -> None:
        """Forget what went, begin to load what came."""
        if polled.assigned or polled.revoked or polled.lost:
            for partition in polled.revoked | polled.lost | polled.assigned:
                self._forget(partition)
            for partition in polled.assigned:
                self._await(partition)
            self._recorder.moved(polled, len(self.held))
        if self._source.settled:
            self._recorder.settled(len(self.held) - len(self.live))

    def load(self) -> None:
        """Read a little of the state of partitions that are being restored."""
        if self.loading:
            with self._recorder.timed("restore"):
                self._load()

    def _load(self) -> None:
        self._begin_those_waiting()
        loading = [held for held in self.loading if held.phase == "loading"]
        changelog = self._changelog
        if changelog is None or not loading:
            return
        loaded, size = self._patience.insist(partial(changelog.read, LOAD_TIMEOUT_S), "restore"), 0
        lanes = _lanes_by_number(loading)
        for number, key, value in loaded.records:
            for lane in lanes.get(number, ()):
                lane.note(key, value)
            size += len(value or b"")
        if loaded.stuck:
            self._recorder.stuck(loaded.stuck, self._keeping.topic)
        ended = [held for held in loading if held.partition.number in loaded.ended]
        for held in ended:
            self._resume(held)
        self._recorder.loading(size, loaded.left, len(loading) - len(ended))

    def reading(self, chunk: Chunk) -> Held | None:
        """Return whose records these are; None where they come again later."""
        held = self.held.get(chunk.partition)
        if held is None or held.phase in {"waiting", "loading"}:
            return None
        offset = int(chunk.offsets[0])
        if offset >= self.ledger.read.get(chunk.partition, 0):
            return held
        # The topic was deleted and made anew: its state is loaded again, and told so.
        self._source.hold(chunk.partition)
        self._forget(chunk.partition)
        self._await(chunk.partition, offset)
        return None

    def go_live(self, held: Held, lane: Lane) -> None:
        """Let a lane's records count from here on, if they did not yet."""
        if not lane.live:
            self._recorder.live(held.partition, held.go_live(lane))

    def end_replays(self) -> None:
        """Let partitions go live whose replay ended before any later record came."""
        for partition, held in self.held.items():
            if held.phase == "replaying":
                position = self._source.position(partition)
                for lane in held.lanes.values():
                    if position is not None and position >= lane.live_from:
                        self.go_live(held, lane)

    def _await(self, partition: Partition, went_back_to: int | None = None) -> None:
        lanes = {
            route.name: Lane(
                route.scorers[0].origin(partition, self.routes.prefix(route, partition)),
                route.scorers[0],
            )
            for route in self.routes.of(partition)
            if route.scorers
        }
        now_s = self._clock.monotonic_s()
        self.held[partition] = Held(partition, lanes, now_s, went_back_to=went_back_to)

    def _begin_those_waiting(self) -> None:
        """Begin to load what was assigned; one that has to wait holds up no other."""
        for partition, held in self.held.items():
            if held.phase == "waiting":
                try:
                    self._begin(held)
                except ConnectionLost as error:
                    self._recorder.delayed(partition, error)
                else:
                    self._recorder.begun(partition)

    def _begin(self, held: Held) -> None:
        # The bounds before the changelog: it must not be older.
        held.bounds = self._source.bounds(held.partition)
        if self._changelog is not None:
            self._changelog.begin(held.partition.number)
            held.phase = "loading"
        else:
            first, _, committed = held.bounds
            begins = first if committed is None else committed
            held.bounds = held.bounds._replace(first=begins, committed=None)
            self._resume(held)

    def _resume(self, held: Held) -> None:
        """Start a partition with the state that was kept, or without."""
        partition, now_s = held.partition, self._clock.monotonic_s()
        for route in self.routes.of(partition):
            if route.scorers:
                lane = held.lanes[route.name]
                version = made_by(lane.kept)
                known = [one for one in route.scorers if one.manifest.version == version]
                lane.scorer = (known or route.scorers)[0]
                lane.origin = lane.scorer.origin(partition, lane.origin.prefix)
        resumed = held.resume(now_s, self._keeping.interval_s)
        start = self._begin_books(held, resumed)
        self._source.start(partition, start)
        for one in resumed:
            self._recorder.resumed(partition, one, now_s - held.assigned_s)

    def _begin_books(self, held: Held, resumed: list[Resumed]) -> int | None:
        """Note where a partition stands; return from where to read, None where the group stands."""
        restored = [one for one in resumed if one.outcome == "restored"]
        if restored:
            first = min(one.start or 0 for one in restored)
            self.ledger.begin(held.partition, first, max(one.live_from for one in restored))
            return first
        start = next((one.start for one in resumed if one.start is not None), None)
        if start is not None:  # to be committed, even if nothing comes
            self.ledger.note_read(held.partition, start)
        return start

    def _forget(self, partition: Partition) -> None:
        self.held.pop(partition, None)
        self.ledger.forget(partition)
        shared = {one.partition.number for one in self.loading}  # of another topic
        if self._changelog is not None and partition.number not in shared:
            self._changelog.drop(partition.number)


def _lanes_by_number(several: list[Held]) -> dict[int, list[Lane]]:
    """Return the lanes that a changelog partition may hold the state of, by its number."""
    lanes: dict[int, list[Lane]] = {}
    for held in several:
        lanes.setdefault(held.partition.number, []).extend(held.lanes.values())
    return lanes
