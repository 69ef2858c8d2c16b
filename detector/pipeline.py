"""The loop: poll, decode, score, say, commit, keep."""

from dataclasses import dataclass
from functools import partial

from detector.changelog import Changelog
from detector.clock import Clock
from detector.decode import decode
from detector.delivery import Delivery
from detector.errors import Displaced, MembershipLost
from detector.lane import Keeping, Lane
from detector.limit import DeadLetters
from detector.messages import Topics, alert_message, dead_letter, score_messages
from detector.ownership import LOAD_TIMEOUT_S, Ownership
from detector.partitions import Held
from detector.patience import Patience
from detector.recorder import Recorder
from detector.records import Chunk, Message, Partition, Polled
from detector.routes import Route, Routes
from detector.schemas import Schemas, understood
from detector.source import Source
from detector.steering import Steering
from detector.successions import Outside, Successions

RELIEF_S = 1.0  # between two evictions while there are too many streams


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

    def __init__(  # noqa: PLR0913 - the wiring; called once, in daemon.py
        self,
        *,
        source: Source,
        changelog: Changelog | None,
        routes: Routes,
        delivery: Delivery,
        topics: Topics,
        keeping: Keeping,
        limit: DeadLetters,
        recorder: Recorder,
        clock: Clock,
        timing: Timing,
        steering: Steering,
        schemas: Schemas | None = None,
        outside: Outside | None = None,
    ) -> None:
        """Wire the stages; without schemas, records name none."""
        self._source = source
        self._delivery = delivery
        self._topics = topics
        self._keeping = keeping
        self._limit = limit
        self._recorder = recorder
        self._clock = clock
        self._timing = timing
        self._schemas = schemas
        self._steering = steering
        self._patience = Patience(recorder, clock, timing.shutdown_s)
        self._owned = Ownership(source, changelog, self._patience, recorder, clock, keeping, routes)
        self._successions = Successions(self._owned, outside, recorder, clock, limit, topics.shadow)
        self._ledger = self._owned.ledger
        self._committed_s = self._relief_s = clock.monotonic_s()

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
            polled = self._patience.attempt(self._poll, "poll")
            if polled is not None:
                self.step(polled)
            if self._recorder.gauges_due:
                self._recorder.gauges(self._owned.held, self._source.lag(), self._ledger)
        for held in self._owned.live:
            self._checkpoint(held)
        self._commit()

    def step(self, polled: Polled) -> None:
        """Do one unit of work: all that one poll causes, up to its commit."""
        self._check_membership(polled)
        self._owned.move(polled)
        if self._steering.look(waiting=bool(self._owned.loading)):
            self._owned.load()
        messages: list[Message] = []
        for chunk in polled.chunks:
            messages += self._process(chunk)
        self._owned.end_replays()
        if messages:
            with self._recorder.timed("emit"):
                self._deliver(messages, self._ledger.due())
        elif self._clock.monotonic_s() - self._committed_s >= self._timing.commit_s:
            self._commit()
        self._recorder.done()
        self._checkpoint_one()
        self._renew()
        self._recorder.beat()

    def _poll(self) -> Polled:
        with self._recorder.timed("poll"):
            polled = self._source.poll(LOAD_TIMEOUT_S if self._owned.loading else None)
            if self._schemas is None:
                return polled
            polled = understood(polled, self._source, self._schemas)
            if polled.chunks or polled.revoked or polled.lost:
                self._recorder.understood()
            return polled

    def _check_membership(self, polled: Polled) -> None:
        """End if partitions were lost because this process stood still.

        Raises:
            MembershipLost: Then: what it remembers is old.
        """
        stood_s, session_s = self._patience.longest_gap_s(), self._timing.session_s
        if polled.lost and stood_s > session_s:
            msg = (
                f"expected to go on within session_timeout_s ({session_s:g} s), saw a pause of "
                f"{stood_s:.0f} s: the process stood still, and its partitions are others' now; "
                "start it again"
            )
            raise MembershipLost(msg)

    # What comes -------------------------------------------------------------------------

    def _process(self, chunk: Chunk) -> list[Message]:
        """Decode, score and judge a chunk; return what is to be said."""
        held = self._owned.reading(chunk)
        if held is None:
            return []
        messages, taken = list[Message](), 0
        for route, part in self._owned.routes.split(chunk):
            if route.scorers:
                taken += len(part.values)
                messages += self._process_lane(held, route, part)
        self._recorder.unrouted(len(chunk.values) - taken)
        self._ledger.note_read(chunk.partition, chunk.next_offset)
        return messages

    def _process_lane(self, held: Held, route: Route, chunk: Chunk) -> list[Message]:
        """Do so with the records that one route takes."""
        lane = held.lanes[route.name]
        _, chunk = chunk.split(lane.start)
        known, fresh = chunk.split(lane.live_from)
        if known.values:
            self._replay(route, lane, known)
        if not fresh.values:
            return []
        self._owned.go_live(held, lane)
        return self._say(route, lane, fresh)

    def _replay(self, route: Route, lane: Lane, chunk: Chunk) -> None:
        """Let readings move the state, in silence: what they caused was said."""
        with self._recorder.timed("replay"):
            readings = decode(chunk, lane.scorer.form, lane.tags).readings
            outcome = lane.scorer.engine.run(lane.arena, readings, chunk.partition)
            self._successions[route].warm(lane, chunk, readings)
        self._recorder.replayed(outcome)

    def _say(self, route: Route, lane: Lane, chunk: Chunk) -> list[Message]:
        topics, partition, changelog = self._topics, chunk.partition, self._keeping.topic
        messages: list[Message] = []
        if changelog:
            messages += lane.first_mark(changelog, int(chunk.offsets[0]))
        with self._recorder.timed("decode"):
            decoded = decode(chunk, lane.scorer.form, lane.tags)
        self._limit.note(partition, len(chunk.values), decoded.bad, self._clock.monotonic_s())
        with self._recorder.timed("score"):
            succession = self._successions[route]
            trace = topics.scores is not None or succession.compares(lane)
            outcome = lane.scorer.engine.run(
                lane.arena, decoded.readings, partition, keep_trace=trace
            )
            messages += succession.beside(lane, chunk, decoded.readings, outcome)
        self._recorder.scored(chunk, decoded, outcome, lane.scorer.manifest)
        messages += [
            alert_message(alert, route.alerts, self._steering.mute(alert))
            for alert in outcome.alerts
        ]
        messages += [dead_letter(bad, chunk, topics.dead_letters) for bad in decoded.bad]
        if topics.scores is not None and outcome.trace is not None:
            about = lane.scorer.manifest
            messages += score_messages(decoded.readings, outcome.trace, about, topics.scores)
        if changelog:
            messages += lane.judged(changelog, outcome, chunk.next_offset)
        return messages

    # What is kept -----------------------------------------------------------------------

    def _deliver(self, messages: list[Message], positions: dict[Partition, int]) -> None:
        """Make what was said and how far was read one fact."""
        self._patience.insist(partial(self._delivery.deliver, messages, positions), "deliver")
        self._note_committed(positions, transaction=True)

    def _commit(self) -> None:
        """Commit positions of readings that caused nothing."""
        due = self._ledger.due()
        self._committed_s = self._clock.monotonic_s()
        if not due:
            return
        try:
            with self._recorder.timed("commit"):
                self._patience.insist(partial(self._source.commit, due), "commit")
        except Displaced:
            raise
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
        if not self._owned.live:
            return
        now_s, held = self._clock.monotonic_s(), min(self._owned.live, key=lambda one: one.due_s)
        crowded = self._owned.streams > self._keeping.max_streams
        if held.due_s <= now_s or (crowded and now_s >= self._relief_s):
            self._relief_s = now_s + RELIEF_S
            self._checkpoint(held)

    def _renew(self) -> None:
        """Take what is new from outside, and let a partition go over to another model."""
        self._successions.take()
        heir = self._successions.heir()
        if heir is not None and self._checkpoint(heir, heir=True):
            self._successions.install(heir)

    def _checkpoint(self, held: Held, *, heir: bool = False) -> bool:
        """Write the slabs of a partition that were touched since its last checkpoint.

        Args:
            held: The partition.
            heir: It is so once this is written: even if nothing was read since the last one.

        Returns:
            False if that was not kept, because the group moves.
        """
        partition, changelog = held.partition, self._keeping.topic
        held.due_s = self._clock.monotonic_s() + self._keeping.interval_s
        offset = self._ledger.read.get(partition)
        if offset is None or (offset == self._ledger.checkpointed.get(partition) and not heir):
            return True
        streams = self._owned.streams
        evicted = sum(lane.evict(self._keeping, streams) for lane in held.lanes.values())
        if not changelog:
            self._recorder.evicted(evicted)
            return True
        messages = held.checkpoint(changelog, offset)
        positions = {**self._ledger.due(), partition: offset}
        try:
            with self._recorder.timed("checkpoint"):
                self._deliver(messages, positions)
        except Displaced:
            raise
        except MembershipLost as error:  # as in `_commit`
            self._recorder.dropped(error)
            return False
        held.checkpointed()
        self._ledger.checkpointed[partition] = offset
        size = sum(len(message.value or b"") for message in messages)
        self._recorder.checkpointed(size)
        self._recorder.evicted(evicted)
        return True
