"""The loop: poll, decode, score, say, commit; and state out, state in."""

from dataclasses import dataclass
from functools import partial

from detector.changelog import Changelog
from detector.clock import Clock
from detector.decode import decode
from detector.delivery import Delivery
from detector.engine import Engine
from detector.errors import MembershipLost
from detector.ledger import Ledger
from detector.limit import DeadLetters
from detector.messages import alert_message, dead_letter, score_messages
from detector.partitions import Held, Keeping
from detector.patience import Patience
from detector.recorder import Recorder
from detector.records import Chunk, Message, Partition, Polled
from detector.snapshot import Origin
from detector.source import Source
from detector.validate import Format

# How long a turn waits for kept state, or for records while there is kept state to read.
LOAD_TIMEOUT_S = 0.05
RELIEF_S = 1.0  # between two evictions while there are too many streams


@dataclass(frozen=True, slots=True)
class Topics:
    """Where what is said goes; no scores where their topic is None."""

    alerts: str
    dead_letters: str
    scores: str | None = None


@dataclass(frozen=True, slots=True)
class Timing:
    """How long things may take: seconds.

    Attributes:
        commit_s: Between two commits of positions while nothing is said.
        shutdown_s: From the request to stop to giving up.
        session_s: Of silence, after which the group takes us for dead.
    """

    commit_s: float
    shutdown_s: float
    session_s: float


class Pipeline:
    """Everything between a source and a sink.

    One poll is one unit of work: all it causes is delivered with its positions before the next
    poll, so a revoked partition leaves nothing to do.
    """

    def __init__(  # noqa: PLR0913 - the wiring; called once, in __main__
        self,
        *,
        source: Source,
        changelog: Changelog | None,
        engine: Engine,
        delivery: Delivery,
        form: Format,
        topics: Topics,
        keeping: Keeping,
        limit: DeadLetters,
        recorder: Recorder,
        clock: Clock,
        timing: Timing,
    ) -> None:
        """Wire the stages."""
        self._source = source
        self._changelog = changelog
        self._engine = engine
        self._delivery = delivery
        self._form = form
        self._topics = topics
        self._keeping = keeping
        self._limit = limit
        self._recorder = recorder
        self._clock = clock
        self._timing = timing
        self._held: dict[Partition, Held] = {}
        self._assigned_s: dict[Partition, float] = {}
        self._ledger = Ledger()
        self._patience = Patience(recorder, clock, timing.shutdown_s)
        self._committed_s = self._polled_s = self._relief_s = clock.monotonic_s()

    def stop(self) -> None:
        """Ask the loop to finish its poll, keep all and end; safe in a signal handler."""
        self._patience.stop()

    def run(self) -> None:
        """Go round until `stop`.

        Raises:
            ConnectionLost: If on the way out something could not be kept in time. Nothing is
                lost: it was not committed, and is read again.
            MembershipLost: If the group has given our partitions to others, and we would not
                have known: nothing was said or committed since.
            DeadLetterLimit: If the input is so bad that a person should look.
        """
        while not self._patience.stopping:
            polled = self._patience.attempt(self._poll)
            if polled is not None:
                self.step(polled)
            if self._recorder.gauges_due:
                self._recorder.gauges(self._held, self._source.lag(), self._ledger)
        for partition in self._live:
            self._checkpoint(partition)
        self._commit()

    def step(self, polled: Polled) -> None:
        """Do one unit of work: all that one poll causes, up to its commit."""
        stalled_s = self._clock.monotonic_s() - self._polled_s
        self._polled_s += stalled_s
        self._move(polled, stalled_s)
        self._load()
        messages: list[Message] = []
        for chunk in polled.chunks:
            messages += self._process(chunk)
        self._end_replays()
        if messages:
            with self._recorder.timed("emit"):
                self._deliver(messages, self._ledger.due())
        elif self._clock.monotonic_s() - self._committed_s >= self._timing.commit_s:
            self._commit()
        self._checkpoint_one()
        self._recorder.beat()

    def _poll(self) -> Polled:
        return self._source.poll(LOAD_TIMEOUT_S if self._loading else None)

    # What comes -------------------------------------------------------------------------

    def _process(self, chunk: Chunk) -> list[Message]:
        """Decode, score and judge a chunk; return what is to be said."""
        held = self._held.get(chunk.partition)
        if held is None or held.phase == "loading":
            return []  # from before it was started; it comes again
        if int(chunk.offsets[0]) < self._ledger.read.get(chunk.partition, 0):
            self._begin_anew(held, int(chunk.offsets[0]))
            return []
        known, fresh = chunk.split(held.live_from)
        if known.values:
            self._replay(held, known)
        if not fresh.values:
            return []
        if held.phase == "replaying":
            self._go_live(held)
        return self._say(held, fresh)

    def _replay(self, held: Held, chunk: Chunk) -> None:
        """Let readings move the state, in silence: what they caused was said."""
        readings = decode(chunk, self._form).readings
        outcome = self._engine.run(held.arena, readings, chunk.partition)
        self._absorb(held, chunk)
        self._recorder.replayed(outcome)

    def _say(self, held: Held, chunk: Chunk) -> list[Message]:
        topics, partition, changelog = self._topics, chunk.partition, self._keeping.topic
        messages: list[Message] = []
        if changelog:
            messages += held.first_mark(changelog, int(chunk.offsets[0]))
        with self._recorder.timed("decode"):
            decoded = decode(chunk, self._form)
        self._limit.note(partition, len(chunk.values), decoded.bad, self._clock.monotonic_s())
        with self._recorder.timed("score"):
            outcome = self._engine.run(
                held.arena, decoded.readings, partition, keep_trace=topics.scores is not None
            )
        self._absorb(held, chunk)
        self._recorder.scored(chunk, decoded, outcome)
        messages += [alert_message(alert, topics.alerts) for alert in outcome.alerts]
        messages += [dead_letter(bad, chunk, topics.dead_letters) for bad in decoded.bad]
        if topics.scores is not None and outcome.trace is not None:
            manifest = self._engine.model.manifest
            messages += score_messages(decoded.readings, outcome.trace, manifest, topics.scores)
        if changelog:
            messages += held.judged(changelog, outcome.alerts, held.arena.absorbed)
        return messages

    def _absorb(self, held: Held, chunk: Chunk) -> None:
        held.arena.absorbed = chunk.next_offset
        self._ledger.note_read(chunk.partition, chunk.next_offset)

    # State in ---------------------------------------------------------------------------

    @property
    def _loading(self) -> list[Held]:
        return [held for held in self._held.values() if held.phase == "loading"]

    @property
    def _live(self) -> list[Partition]:
        return [partition for partition, held in self._held.items() if held.phase == "live"]

    def _move(self, polled: Polled, stalled_s: float) -> None:
        """Follow the group: forget what went, load what came.

        Raises:
            MembershipLost: If partitions were lost because this process stood still.
        """
        if polled.lost and stalled_s > self._timing.session_s:
            msg = (
                f"expected a turn of the loop within session_timeout_s "
                f"({self._timing.session_s:g} s), saw one of {stalled_s:.0f} s: the process stood "
                "still, and its partitions are others' now; start it again"
            )
            raise MembershipLost(msg)
        if polled.assigned or polled.revoked or polled.lost:
            for partition in polled.revoked | polled.lost | polled.assigned:
                self._forget(partition)
            for partition in sorted(polled.assigned):
                self._patience.insist(partial(self._begin, partition))
            self._recorder.moved(polled, len(self._held))
        if self._source.settled:
            waiting = sum(held.phase != "live" for held in self._held.values())
            self._recorder.settled(waiting)

    def _forget(self, partition: Partition) -> None:
        self._held.pop(partition, None)
        self._ledger.forget(partition)
        if self._changelog is not None:
            self._changelog.drop(partition.number)

    def _begin(self, partition: Partition, went_back_to: int | None = None) -> None:
        bounds = self._source.bounds(partition)  # before the changelog: it must not be older
        if self._changelog is None:
            bounds = bounds._replace(committed=None)
        else:
            self._changelog.begin(partition.number)
        origin = Origin(self._engine.model.manifest, partition)
        held = Held(origin, bounds, went_back_to=went_back_to)
        self._held[partition] = held
        self._assigned_s[partition] = self._clock.monotonic_s()
        if self._changelog is None:
            self._resume(held)

    def _begin_anew(self, held: Held, offset: int) -> None:
        """Load a partition again whose offsets went back: the topic was deleted and made anew."""
        partition = held.origin.partition
        self._source.hold(partition)
        self._forget(partition)
        self._patience.insist(partial(self._begin, partition, offset))

    def _load(self) -> None:
        """Read a little of the state of partitions that are being restored."""
        changelog, loading = self._changelog, {held.number: held for held in self._loading}
        if changelog is None or not loading:
            return
        loaded = self._patience.insist(partial(changelog.read, LOAD_TIMEOUT_S))
        for number, key, value in loaded.records:
            if number in loading:
                loading[number].kept.note(key, value)
        if loaded.stuck:
            self._recorder.stuck(loaded.stuck, self._keeping.topic)
        for number in loaded.ended & loading.keys():
            self._resume(loading.pop(number))
        self._recorder.loading(loaded.left, len(loading))

    def _resume(self, held: Held) -> None:
        """Start a partition with the state that was kept, or without."""
        partition, now_s = held.origin.partition, self._clock.monotonic_s()
        resumed = held.resume(now_s, self._keeping.interval_s)
        if resumed.outcome == "restored":
            self._ledger.begin(partition, resumed.start or 0, resumed.live_from)
        self._source.start(partition, resumed.start)
        self._recorder.resumed(partition, resumed, now_s - self._assigned_s.pop(partition, now_s))

    def _end_replays(self) -> None:
        """Let partitions go live whose replay ended before any later record came."""
        for partition, held in self._held.items():
            if held.phase == "replaying":
                position = self._source.position(partition)
                if position is not None and position >= held.live_from:
                    self._go_live(held)

    def _go_live(self, held: Held) -> None:
        self._recorder.live(held.origin.partition, held.go_live())

    # What is kept -----------------------------------------------------------------------

    def _deliver(self, messages: list[Message], positions: dict[Partition, int]) -> None:
        """Make what was said and how far was read one fact."""
        self._patience.insist(partial(self._delivery.deliver, messages, positions))
        self._note_committed(positions, transaction=True)

    def _commit(self) -> None:
        """Commit positions of readings that caused nothing."""
        due = self._ledger.due()
        self._committed_s = self._clock.monotonic_s()
        if not due:
            return
        try:
            with self._recorder.timed("commit"):
                self._patience.insist(partial(self._source.commit, due))
        except MembershipLost as error:  # nothing was said: whoever owns them now reads it again
            self._recorder.dropped(error)
        else:
            self._note_committed(due, transaction=False)

    def _note_committed(self, positions: dict[Partition, int], *, transaction: bool) -> None:
        self._ledger.note_committed(positions)
        self._committed_s = self._clock.monotonic_s()
        self._recorder.committed(transaction=transaction)

    def _checkpoint_one(self) -> None:
        """Write the state of the partition that has waited longest, if it is time."""
        if self._keeping.topic is None:
            return
        now_s = self._clock.monotonic_s()
        streams = sum(len(held.arena) for held in self._held.values())
        crowded = streams > self._keeping.max_streams
        waiting = [(self._held[p].due_s, p) for p in self._live]
        if waiting:
            due_s, partition = min(waiting)
            if due_s <= now_s or (crowded and now_s >= self._relief_s):
                self._relief_s = now_s + RELIEF_S
                self._checkpoint(partition)

    def _checkpoint(self, partition: Partition) -> None:
        """Write the slabs of a partition that were touched since its last checkpoint."""
        held, changelog = self._held[partition], self._keeping.topic
        held.due_s = self._clock.monotonic_s() + self._keeping.interval_s
        offset = self._ledger.read.get(partition)
        if changelog is None or offset in (None, self._ledger.checkpointed.get(partition)):
            return
        streams = sum(len(other.arena) for other in self._held.values())
        evicted = held.evict(self._keeping, streams)
        messages = held.checkpoint(changelog, offset)
        positions = {**self._ledger.due(), partition: offset}
        try:
            with self._recorder.timed("checkpoint"):
                self._deliver(messages, positions)
        except MembershipLost as error:  # as in `_commit`
            self._recorder.dropped(error)
            return
        held.checkpointed()
        self._ledger.checkpointed[partition] = offset
        size = sum(len(message.value or b"") for message in messages)
        self._recorder.checkpointed(size, evicted)
