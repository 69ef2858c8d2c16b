"""The loop: poll, decode, score, say, commit. The only caller of metrics."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

import structlog

from detector.clock import Clock
from detector.decode import decode
from detector.emit import Sink
from detector.engine import Engine, Outcome
from detector.errors import ConnectionLost
from detector.expose import Health
from detector.ledger import Ledger
from detector.limit import DeadLetters
from detector.messages import alert_message, dead_letter, score_messages
from detector.metrics import Metrics
from detector.records import US_PER_S, Chunk, Message, Partition, Polled
from detector.source import Source
from detector.state import Arena
from detector.validate import Decoded, Format

log = structlog.get_logger()

T = TypeVar("T")

FIRST_PAUSE_S = 0.25
LONGEST_PAUSE_S = 10.0
NEVER = threading.Event()
GAUGES_INTERVAL_S = 1.0  # walking all partitions for a gauge is not worth every poll


@dataclass(frozen=True, slots=True)
class Topics:
    """Where what is said goes; no scores where their topic is None."""

    alerts: str
    dead_letters: str
    scores: str | None = None


class Pipeline:
    """Everything between a source and a sink, at least once.

    One poll is one unit of work: all it causes is acknowledged before its offsets are
    committed, and both before the next poll. So a crash repeats at most one poll, and a
    revoked partition leaves nothing to do.
    """

    def __init__(  # noqa: PLR0913 - the wiring; called once, in __main__
        self,
        *,
        source: Source,
        engine: Engine,
        sink: Sink,
        form: Format,
        topics: Topics,
        limit: DeadLetters,
        metrics: Metrics,
        health: Health,
        clock: Clock,
        commit_interval_s: float,
        shutdown_timeout_s: float,
    ) -> None:
        """Wire the stages."""
        self._source = source
        self._engine = engine
        self._sink = sink
        self._form = form
        self._topics = topics
        self._limit = limit
        self._metrics = metrics
        self._health = health
        self._clock = clock
        self._commit_interval_s = commit_interval_s
        self._shutdown_timeout_s = shutdown_timeout_s
        self._arenas: dict[Partition, Arena] = {}
        self._ledger = Ledger()
        self._away = False
        self._stop = threading.Event()
        self._stop_by_s = float("inf")
        self._committed_s = clock.monotonic_s()
        self._gauged_s = float("-inf")

    def stop(self) -> None:
        """Ask the loop to finish its poll, commit and end; safe in a signal handler."""
        self._stop_by_s = self._clock.monotonic_s() + self._shutdown_timeout_s
        self._stop.set()

    def run(self) -> None:
        """Go round until `stop`.

        Raises:
            ConnectionLost: If on the way out something could not be delivered or committed in
                time. Nothing is lost: it was not committed, and is read again.
            DeadLetterLimit: If the input is so bad that a person should look.
        """
        while not self._stop.is_set():
            polled = self._until_it_works(self._source.poll)
            if polled is not None:
                self.step(polled)
            self._gauges()
        self._commit()

    def step(self, polled: Polled) -> None:
        """Do one unit of work: all that one poll causes, up to its commit."""
        self._move(polled)
        messages: list[Message] = []
        for chunk in polled.chunks:
            messages += self._process(chunk)
        if messages:
            with self._timed("emit"):
                self._insist(lambda: self._sink.send(messages))
        since_commit_s = self._clock.monotonic_s() - self._committed_s
        if messages or since_commit_s >= self._commit_interval_s:
            self._commit()
        self._health.beat()

    def _process(self, chunk: Chunk) -> list[Message]:
        """Decode, score and judge a chunk; return what is to be said."""
        topics, partition = self._topics, chunk.partition
        arena = self._arenas.setdefault(partition, self._engine.new_arena())
        with self._timed("decode"):
            decoded = decode(chunk, self._form)
        self._limit.note(partition, len(chunk.values), decoded.bad, self._clock.monotonic_s())
        with self._timed("score"):
            outcome = self._engine.run(
                arena, decoded.readings, partition, keep_trace=topics.scores is not None
            )
        arena.absorbed = int(chunk.offsets[-1]) + 1
        self._ledger.note_read(partition, arena.absorbed)
        self._count(chunk, decoded, outcome)
        messages = [alert_message(alert, topics.alerts) for alert in outcome.alerts]
        messages += [dead_letter(bad, chunk, topics.dead_letters) for bad in decoded.bad]
        if topics.scores is not None and outcome.trace is not None:
            manifest = self._engine.model.manifest
            messages += score_messages(decoded.readings, outcome.trace, manifest, topics.scores)
        return messages

    def _move(self, polled: Polled) -> None:
        """Follow the group: forget what was revoked, start afresh what was assigned."""
        if not (polled.assigned or polled.revoked):
            return
        for partition in polled.revoked | polled.assigned:
            self._arenas.pop(partition, None)
            self._ledger.forget(partition)
        for partition in polled.assigned:
            self._arenas[partition] = self._engine.new_arena()
        self._metrics.rebalances.inc()
        self._gauged_s = float("-inf")
        log.info(
            "partitions moved",
            assigned=sorted(p.number for p in polled.assigned),
            revoked=sorted(p.number for p in polled.revoked),
            held=len(self._arenas),
        )

    def _commit(self) -> None:
        due = self._ledger.due()
        if due:
            with self._timed("commit"):
                self._insist(lambda: self._source.commit(due))
            self._ledger.note_committed(due)
            self._metrics.commits.inc()
        self._committed_s = self._clock.monotonic_s()

    def _insist(self, act: Callable[[], None]) -> None:
        """Do something until it works.

        Raises:
            ConnectionLost: If it still does not when the time to stop has run out.
        """
        self._until_it_works(act, even_when_stopping=True)

    def _until_it_works(
        self, act: Callable[[], T], *, even_when_stopping: bool = False
    ) -> T | None:
        """Call `act` until the broker answers, pausing longer and longer in between."""
        pause_s = FIRST_PAUSE_S
        while True:
            try:
                result = act()
            except ConnectionLost as error:
                self._note_lost(error)
                out_of_time = self._clock.monotonic_s() >= self._stop_by_s
                if self._stop.is_set() and (out_of_time or not even_when_stopping):
                    if even_when_stopping:
                        raise
                    return None
                self._health.beat()
                # Once asked to stop, the wait is not cut short any more: no busy loop.
                self._clock.wait(pause_s, NEVER if self._stop.is_set() else self._stop)
                pause_s = min(pause_s * 2, LONGEST_PAUSE_S)
            else:
                self._note_answer()
                return result

    def _note_lost(self, error: ConnectionLost) -> None:
        if not self._away:  # one line an outage, not one an attempt
            self._metrics.connection_losses.inc()
            log.warning("broker away, trying again", why=str(error))
        self._away = True
        self._health.connected = False
        self._metrics.connected.set(0)

    def _note_answer(self) -> None:
        if not self._health.connected:
            log.info("broker answers")
        self._away = False
        self._health.connected = True
        self._metrics.connected.set(1)
        if self._source.settled and not self._health.assigned:
            self._health.assigned = True
            self._health.notify("READY=1")

    def _count(self, chunk: Chunk, decoded: Decoded, outcome: Outcome) -> None:
        metrics = self._metrics
        metrics.records.inc(len(chunk.values))
        metrics.readings.inc(outcome.scored)
        metrics.warming.inc(outcome.warming)
        metrics.late.inc(outcome.late)
        metrics.restarts.inc(outcome.restarted)
        metrics.unknown_values.inc(decoded.unknown_values)
        metrics.out_of_bounds.inc(decoded.out_of_bounds)
        for bad in decoded.bad:
            metrics.dead_letters.labels(bad.reason).inc()
            log.debug("bad record", reason=bad.reason, detail=bad.detail)
        for alert in outcome.alerts:
            metrics.alerts.labels(alert.kind, alert.severity, alert.status).inc()
            log.info("alert", stream=alert.stream, status=alert.status, score=round(alert.score, 3))
        if outcome.ticks:
            metrics.tick.observe(outcome.scored / outcome.ticks)
        if len(decoded.readings.ts_us):
            newest_s = int(decoded.readings.ts_us.max()) / US_PER_S
            metrics.delay.observe(max(self._clock.now_s() - newest_s, 0.0))

    def _gauges(self) -> None:
        now_s = self._clock.monotonic_s()
        if now_s - self._gauged_s < GAUGES_INTERVAL_S:
            return
        self._gauged_s = now_s
        metrics, arenas = self._metrics, self._arenas.values()
        metrics.partitions.set(len(arenas))
        metrics.streams.set(sum(len(arena) for arena in arenas))
        metrics.state_bytes.set(sum(arena.nbytes for arena in arenas))
        for k, kind in enumerate(self._engine.model.manifest.kinds):
            opened = sum(int(arena.open_alerts[k]) for arena in arenas)
            metrics.open_alerts.labels(kind).set(opened)
        metrics.lag.clear()
        for partition, records in self._source.lag().items():
            metrics.lag.labels(str(partition.number)).set(records)

    @contextmanager
    def _timed(self, stage: str) -> Iterator[None]:
        start_s = self._clock.monotonic_s()
        yield
        self._metrics.stage.labels(stage).observe(self._clock.monotonic_s() - start_s)
