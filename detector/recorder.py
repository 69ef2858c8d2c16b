"""What the loop's facts mean to those who watch: metrics, probes and log lines.

The only caller of metrics. Stages return facts; the loop hands them over here.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import structlog

from detector.announcements import Announcements
from detector.artifact import Manifest
from detector.clock import Clock
from detector.engine import Outcome
from detector.errors import RegistryLost
from detector.expose import Health
from detector.gauges import Gauges
from detector.ledger import Ledger
from detector.metrics import Metrics, Operation, Stage
from detector.partitions import Held
from detector.records import US_PER_S, Chunk, Ints, Partition, Polled
from detector.restore import Resumed
from detector.scorer import Notice
from detector.validate import Decoded

log = structlog.get_logger()

PROGRESS_INTERVAL_S = 5.0
LONGEST_EXEMPLAR = 64  # characters of a stream's id; all labels together may have 128
GAUGES_INTERVAL_S = 1.0  # walking all partitions for a gauge is not worth every poll


class Recorder:
    """Turns facts into metrics, probes and lines."""

    def __init__(self, metrics: Metrics, health: Health, clock: Clock) -> None:
        """Wire it to those who watch."""
        self._metrics = metrics
        self._health = health
        self._clock = clock
        self._gauges = Gauges(metrics, clock)
        self._away = False
        self._delayed: set[Partition] = set()
        self._ts_us: list[Ints] = []
        self._gauged_s = float("-inf")
        self._progress_s = clock.monotonic_s()

    def announcements(self, judging: Manifest) -> Announcements:
        """Return what tells of the models of one route, of which one judges now."""
        return Announcements(self._metrics, judging)

    def noticed(self, notice: Notice) -> None:
        """Something was changed while running, or was not."""
        self._metrics.reloads.labels(notice.what, notice.fate).inc()
        if notice.fate == "taken":
            log.info("taken while running", what=notice.what, new=notice.detail)
        elif notice.fate == "refused":
            log.error("refused, what was before stays", what=notice.what, why=notice.detail)
        else:
            log.warning("needs a restart, not taken", what=notice.what, settings=notice.detail)

    def _named(self, partition: Partition) -> int | str:
        name = self._metrics.name(partition)
        return partition.number if name.isdecimal() else name

    def beat(self) -> None:
        """The loop makes progress."""
        self._health.beat()
        self._metrics.progress.set(self._clock.now_s())

    def lost(self, why: Exception, operation: Operation) -> None:
        """The broker or the registry does not answer; one line an outage, not one an attempt."""
        if isinstance(why, RegistryLost):
            self._registry_lost(why)
            return
        self._metrics.broker_errors.labels(operation).inc()
        if not self._away:
            self._metrics.connection_losses.inc()
            log.warning("broker away, trying again", why=str(why))
        self._away = True
        self._health.connected = False
        self._metrics.connected.set(0)

    def answered(self) -> None:
        """The broker answers."""
        if not self._health.connected:
            log.info("broker answers")
        self._away = False
        self._health.connected = True
        self._metrics.connected.set(1)

    def understood(self) -> None:
        """The schemas are known that records were written with, or these are others' now."""
        if not self._health.registry:
            log.info("schema registry answers")
        self._health.registry = True

    def _registry_lost(self, why: RegistryLost) -> None:
        """The registry does not answer; the broker did, or nobody would have asked it."""
        if self._health.registry:
            self.answered()
            log.warning("schema registry away, trying again", why=str(why))
        self._health.registry = False
        self._metrics.registry_errors.inc()

    def settled(self, loading: int) -> None:
        """The group has assigned us our partitions, be it none; some are not restored yet."""
        self._health.restoring = loading
        self._health.assigned = True

    def moved(self, polled: Polled, held: int) -> None:
        """Partitions came or went."""
        self._metrics.rebalances.inc()
        self._metrics.lost_partitions.inc(len(polled.lost))
        self._gauged_s = float("-inf")
        log.info(
            "partitions moved",
            assigned=list(map(self._named, sorted(polled.assigned))),
            revoked=list(map(self._named, sorted(polled.revoked))),
            lost=list(map(self._named, sorted(polled.lost))),
            held=held,
        )

    def loading(self, size: int, left: int, partitions: int) -> None:
        """State is being read: `size` bytes of it have come, `left` records are still to."""
        self._metrics.restore_bytes.inc(size)
        self._metrics.restore_left.set(left)
        now_s = self._clock.monotonic_s()
        if partitions and now_s - self._progress_s >= PROGRESS_INTERVAL_S:
            self._progress_s = now_s
            log.info("restoring state", partitions=partitions, records_left=left)

    def stuck(self, numbers: frozenset[int], topic: str | None) -> None:
        """The last part of some partitions' state stays hidden."""
        self._metrics.stuck_restores.inc(len(numbers))
        log.error(
            "a transaction on the changelog never ends; going on with the state before it",
            partitions=sorted(numbers),
            remedy=f"kafka-transactions.sh find-hanging, then abort, on topic {topic}; until then "
            "every restart waits for it, and replays more",
        )

    def resumed(self, partition: Partition, resumed: Resumed, seconds: float) -> None:
        """A partition's state is here, or begins anew."""
        self._metrics.restores.labels(resumed.outcome).inc()
        self._metrics.restore_time.observe(seconds)
        tell = log.info if resumed.outcome in {"restored", "new"} else log.warning
        tell(
            "state restored" if resumed.outcome == "restored" else "state begins anew",
            partition=self._named(partition),
            outcome=resumed.outcome,
            streams=len(resumed.arena),
            seconds=round(seconds, 3),
            replay=0 if resumed.start is None else resumed.live_from - resumed.start,
            **({"why": resumed.detail} if resumed.detail else {}),
        )

    def unrouted(self, records: int) -> None:
        """Records came whose streams no model takes."""
        self._metrics.unrouted.inc(records)

    def replayed(self, outcome: Outcome) -> None:
        """Readings moved state in silence; what they caused was said already."""
        self._metrics.replayed.inc(outcome.scored + outcome.late)

    def live(self, partition: Partition, overruled: int) -> None:
        """A partition's records count from here on."""
        if overruled:
            log.warning(
                "what was said before overrules the judge: its settings have changed",
                partition=self._named(partition),
                streams=overruled,
            )

    def scored(self, chunk: Chunk, decoded: Decoded, outcome: Outcome, manifest: Manifest) -> None:
        """What came of a chunk's records; `manifest` says what their scores mean."""
        metrics = self._metrics
        metrics.records.inc(len(chunk.values))
        metrics.last_record.labels(metrics.name(chunk.partition)).set(self._clock.now_s())
        metrics.poll_records.observe(len(chunk.values))
        metrics.readings.inc(outcome.scored)
        metrics.warming.inc(outcome.warming)
        metrics.late.inc(outcome.late + decoded.late)
        metrics.duplicates.inc(outcome.duplicates + decoded.duplicates)
        metrics.gaps.inc(outcome.gaps)
        metrics.starts.inc(outcome.restarted)
        metrics.unknown_values.inc(decoded.unknown_values)
        metrics.out_of_bounds.inc(decoded.out_of_bounds)
        for bad in decoded.bad:
            metrics.dead_letters.labels(bad.reason).inc()
            log.debug("bad record", reason=bad.reason, detail=bad.detail)
        metrics.withheld.inc(outcome.withheld)
        metrics.grouped.inc(outcome.joined)
        for alert in outcome.alerts:
            told = {"alert_id": alert.id, "stream": alert.stream[:LONGEST_EXEMPLAR]}
            metrics.alerts.labels(alert.kind, alert.severity, alert.status).inc(exemplar=told)
            log.info("alert", stream=alert.stream, status=alert.status, score=round(alert.score, 3))
        if outcome.ticks:
            metrics.tick.add(np.array([len(ts_us) for ts_us in outcome.ts_us], np.float64))
            score = np.concatenate(outcome.scores, dtype=np.float64)
            self._gauges.drift_of(manifest).add(score, self._clock.monotonic_s())
            for k, calibration in enumerate(manifest.calibration):
                metrics.rarity.add(calibration.rarity(score[:, k]), calibration.kind)
            self._ts_us += outcome.ts_us

    def done(self) -> None:
        """All that a poll caused is delivered, or will be found again."""
        if self._ts_us:
            age_s = self._clock.now_s() - np.concatenate(self._ts_us) / US_PER_S
            self._metrics.delay.add(np.maximum(age_s, 0.0))
            self._ts_us.clear()

    def committed(self, *, transaction: bool) -> None:
        """Positions, and what was said, are durable."""
        self._metrics.commits.inc()
        if transaction:
            self._metrics.units.inc()

    def dropped(self, why: Exception) -> None:
        """Progress that said nothing was not kept: the group is moving, or moved on."""
        self._metrics.dropped_commits.inc()
        log.debug("a commit was not kept", why=str(why))

    def checkpointed(self, size: int) -> None:
        """A partition's state was written."""
        self._metrics.checkpoints.inc()
        self._metrics.checkpoint_bytes.inc(size)

    def evicted(self, streams: int) -> None:
        """Streams were forgotten."""
        self._metrics.evicted.inc(streams)

    def delayed(self, partition: Partition, why: Exception) -> None:
        """A partition cannot be begun yet; one line for each."""
        self._metrics.broker_errors.labels("restore").inc()
        if partition not in self._delayed:
            self._delayed.add(partition)
            log.warning("a partition has to wait", partition=self._named(partition), why=str(why))

    def begun(self, partition: Partition) -> None:
        """A partition's state is being read."""
        self._delayed.discard(partition)

    def gauges(
        self, held: dict[Partition, Held], lag: dict[Partition, int], ledger: Ledger
    ) -> None:
        """Where everything stands; walks all partitions."""
        self._gauged_s = self._clock.monotonic_s()
        self._gauges.tell(held, lag, ledger)

    @property
    def gauges_due(self) -> bool:
        """Whether it is time for `gauges`."""
        return self._clock.monotonic_s() - self._gauged_s >= GAUGES_INTERVAL_S

    @contextmanager
    def timed(self, stage: Stage) -> Iterator[None]:
        """Time a stage of a poll."""
        start_s = self._clock.monotonic_s()
        yield
        self._metrics.stage.labels(stage).observe(self._clock.monotonic_s() - start_s)
