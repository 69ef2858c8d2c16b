"""Which partitions are ours: follows the group, and brings their state in."""

from functools import partial

from detector.changelog import Changelog
from detector.clock import Clock
from detector.errors import ConnectionLost
from detector.ledger import Ledger
from detector.partitions import Held, Keeping
from detector.patience import Patience
from detector.recorder import Recorder
from detector.records import Chunk, Partition, Polled
from detector.restore import made_by
from detector.scorer import Scorer
from detector.source import Source

# How long a turn waits for kept state, or for records while there is kept state to read.
LOAD_TIMEOUT_S = 0.05


class Ownership:
    """The partitions that are ours, and how far each was read.

    Attributes:
        held: Each from its assignment to its revocation.
        ledger: Their positions.
        scorers: Models that may judge them; the first one shall.
    """

    def __init__(
        self,
        source: Source,
        changelog: Changelog | None,
        patience: Patience,
        recorder: Recorder,
        clock: Clock,
        keeping: Keeping,
        scorer: Scorer,
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
        self.scorers: tuple[Scorer, ...] = (scorer,)

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
        loading = {held.number: held for held in self.loading if held.phase == "loading"}
        changelog = self._changelog
        if changelog is None or not loading:
            return
        loaded, size = self._patience.insist(partial(changelog.read, LOAD_TIMEOUT_S), "restore"), 0
        for number, key, value in loaded.records:
            if number in loading:
                loading[number].kept.note(key, value)
                size += len(value or b"")
        if loaded.stuck:
            self._recorder.stuck(loaded.stuck, self._keeping.topic)
        for number in loaded.ended & loading.keys():
            self._resume(loading.pop(number))
        self._recorder.loading(size, loaded.left, len(loading))

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

    def go_live(self, held: Held) -> None:
        """Let a partition's records count from here on, if they did not yet."""
        if held.phase == "replaying":
            self._recorder.live(held.origin.partition, held.go_live())

    def end_replays(self) -> None:
        """Let partitions go live whose replay ended before any later record came."""
        for partition, held in self.held.items():
            if held.phase == "replaying":
                position = self._source.position(partition)
                if position is not None and position >= held.live_from:
                    self.go_live(held)

    def _await(self, partition: Partition, went_back_to: int | None = None) -> None:
        scorer, now_s = self.scorers[0], self._clock.monotonic_s()
        origin = scorer.origin(partition)
        self.held[partition] = Held(origin, now_s, scorer, went_back_to=went_back_to)

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
        held.bounds = self._source.bounds(held.origin.partition)
        if self._changelog is not None:
            self._changelog.begin(held.number)
            held.phase = "loading"
        else:
            first, _, committed = held.bounds
            begins = first if committed is None else committed
            held.bounds = held.bounds._replace(first=begins, committed=None)
            self._resume(held)

    def _resume(self, held: Held) -> None:
        """Start a partition with the state that was kept, or without."""
        partition, now_s = held.origin.partition, self._clock.monotonic_s()
        version = made_by(held.kept)
        known = [one for one in self.scorers if one.manifest.version == version]
        held.scorer = (known or self.scorers)[0]
        held.origin = held.scorer.origin(partition)
        resumed = held.resume(now_s, self._keeping.interval_s)
        if resumed.outcome == "restored":
            self.ledger.begin(partition, resumed.start or 0, resumed.live_from)
        elif resumed.start is not None:  # to be committed, even if nothing comes
            self.ledger.note_read(partition, resumed.start)
        self._source.start(partition, resumed.start)
        self._recorder.resumed(partition, resumed, now_s - held.assigned_s)

    def _forget(self, partition: Partition) -> None:
        self.held.pop(partition, None)
        self.ledger.forget(partition)
        if self._changelog is not None:
            self._changelog.drop(partition.number)
