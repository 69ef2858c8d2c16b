"""Where everything stands: the gauges that walk all partitions. A part of `recorder`."""

from collections import Counter
from contextlib import suppress

from detector.artifact import Manifest
from detector.clock import Clock
from detector.drift import Drift
from detector.lane import Lane
from detector.ledger import Ledger
from detector.metrics import POSITIONS, Metrics
from detector.partitions import Held
from detector.records import GROUP, SEVERITIES, SILENT, Partition


class Gauges:
    """Tells what is held, how far it was read, what is open, how far scores have drifted."""

    def __init__(self, metrics: Metrics, clock: Clock) -> None:
        """Wire it."""
        self._metrics = metrics
        self._clock = clock
        self._told: set[Partition] = set()
        self._drift: dict[str, tuple[Manifest, Drift]] = {}  # by the model's version

    def tell(self, held: dict[Partition, Held], lag: dict[Partition, int], ledger: Ledger) -> None:
        """Where everything stands; walks all partitions."""
        metrics, lanes = (
            self._metrics,
            [lane for one in held.values() for lane in one.lanes.values()],
        )
        metrics.partitions.set(len(held))
        metrics.restoring.set(sum(one.phase != "live" for one in held.values()))
        metrics.streams.set(sum(len(lane.arena) for lane in lanes))
        metrics.state_bytes.set(sum(lane.arena.nbytes for lane in lanes))
        self._gauge_alerts(lanes)
        self._gauge_drift({lane.scorer.manifest.version for lane in lanes})
        for partition in self._told - held.keys():  # not all: a scrape could come in between
            self._forget(partition)
        self._told = set(held)
        for partition in held:
            number = self._metrics.name(partition)
            if partition in lag:
                metrics.lag.labels(number).set(lag[partition])
            for name in POSITIONS:
                offset = getattr(ledger, name).get(partition)
                if offset is not None:
                    metrics.position.labels(number, name).set(offset)

    def _gauge_alerts(self, lanes: list[Lane]) -> None:
        opened: Counter[tuple[str, str]] = Counter()
        alerting = 0
        for lane in lanes:
            docket = lane.arena.alerting
            alerting += len(docket)
            for k, kind in enumerate(lane.scorer.manifest.kinds if len(docket) else ()):
                severities = docket["severity"][docket["open"][:, k], k]
                opened.update((kind, SEVERITIES[severity]) for severity in severities.tolist())
        self._metrics.alerting.set(alerting)
        for kind in self._metrics.kinds:
            for severity in SEVERITIES:
                self._metrics.open_alerts.labels(kind, severity).set(opened[kind, severity])
        silent = sum(lane.arena.silent for lane in lanes)
        self._metrics.open_alerts.labels(SILENT, "warning").set(silent)
        groups = sum(lane.arena.tally.flood.members > 0 for lane in lanes)
        self._metrics.open_alerts.labels(GROUP, "warning").set(groups)

    def drift_of(self, manifest: Manifest) -> Drift:
        """Return how far a model's scores have drifted, beginning with its first ones."""
        begun = (manifest, Drift(manifest.calibration, self._clock.monotonic_s()))
        return self._drift.setdefault(manifest.version, begun)[1]

    def _gauge_drift(self, judging: set[str]) -> None:
        """Tell the drift of the models that judge, by their versions, and forget that of others."""
        gauge = self._metrics.drift
        for version in self._drift.keys() - judging:
            manifest, _ = self._drift.pop(version)
            for kind in manifest.kinds:
                with suppress(KeyError):
                    gauge.remove(manifest.name, kind)
        for manifest, drift in self._drift.values():
            for kind, now in zip(manifest.kinds, drift.now(), strict=True):
                gauge.labels(manifest.name, kind).set(now)

    def _forget(self, partition: Partition) -> None:
        number = self._metrics.name(partition)
        for gauge in (self._metrics.lag, self._metrics.last_record):
            with suppress(KeyError):  # its lag was never known, or nothing was read
                gauge.remove(number)
        for name in POSITIONS:
            with suppress(KeyError):
                self._metrics.position.remove(number, name)
