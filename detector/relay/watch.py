"""What the relay's loop does, to those who watch: metrics, probes and log lines."""

from dataclasses import dataclass

import structlog
from prometheus_client import ProcessCollector

from detector.clock import Clock
from detector.expose import Health
from detector.instruments import Table
from detector.metrics import DELAYS_S, TIMES_S, Operation
from detector.records import Partition
from detector.relay.endpoint import Answer

OUTCOMES = ("delivered", "refused", "unreadable")
log = structlog.get_logger()


class RelayMetrics:
    """The relay's metrics, on a registry of their own."""

    def __init__(self, sink: str) -> None:
        """Register all of them; `sink` is what the relay hands on to."""
        self.sink = sink
        self.table = table = Table()
        self.registry = table.registry
        self._place(table)
        table.section = "The relay: the broker, and what runs"
        self.connected = table.gauge(
            "detector_broker_connected", "1 while the broker answers, 0 otherwise."
        )
        self.connection_losses = table.counter(
            "detector_broker_losses_total", "Outages: times that the broker began not to answer."
        )
        self.build = table.gauge(
            "detector_relay_build_info", "1 for the release that runs.", version=()
        )
        self.progress = table.gauge(
            "detector_progress_timestamp_seconds", "When the loop last went round."
        )
        self.watchdog = table.gauge(
            "detector_watchdog_limit_seconds",
            "The process is ended when the loop stands still for so long.",
        )
        ProcessCollector(registry=self.registry)

    def _place(self, table: Table) -> None:
        table.section, sinks = "The relay: alerts handed on", (self.sink,)
        self.alerts = table.counter(
            "detector_relay_alerts_total", "Messages done with, by what came of them.",
            sink=sinks, outcome=OUTCOMES,
        )  # fmt: skip
        self.retries = table.counter(
            "detector_relay_retries_total", "Requests that failed and are made again.", sink=sinks
        )
        self.resends = table.counter(
            "detector_relay_resends_total", "Requests that tell again what is open.", sink=sinks
        )
        self.reachable = table.gauge(
            "detector_relay_sink_up", "0 where the last request was not taken, 1 otherwise.",
            sink=sinks,
        )  # fmt: skip
        self.reachable.labels(self.sink).set(1)
        self.attempt = table.histogram(
            "detector_relay_request_seconds", "How long requests take.", TIMES_S, sink=sinks
        )
        self.delay = table.histogram(
            "detector_relay_delay_seconds", "From a message's Kafka time to its delivery.",
            DELAYS_S, sink=sinks,
        )  # fmt: skip
        self.lag = table.gauge(
            "detector_relay_lag_records", "Messages of a partition not handed on yet.", partition=()
        )
        self.oldest = table.gauge(
            "detector_relay_oldest_seconds", "Age of the oldest message that was read and waits."
        )
        self.open = table.gauge("detector_relay_open_alerts", "Alerts that are told again.")
        self.forgotten = table.counter(
            "detector_relay_forgotten_alerts_total", "Open alerts forgotten: too many, or too old."
        )


@dataclass(slots=True)
class RelayHealth(Health):
    """What a relay's probes tell; it is ready when what is alerted reaches people.

    Attributes:
        away: Why it does not.
    """

    away: str = ""

    def ready(self) -> tuple[bool, str]:
        """Say whether alerts are handed on, and why not."""
        if not self.connected:
            return False, "the broker does not answer"
        if not self.assigned:
            return False, "waiting for the consumer group to assign partitions"
        if self.restoring:
            return False, f"reading again what is open in {self.restoring} partitions"
        return not self.away, self.away or "relaying"


class Watch:
    """Turns the loop's facts into metrics, probes and lines; the loop's only witness."""

    def __init__(self, metrics: RelayMetrics, health: RelayHealth, clock: Clock) -> None:
        """Wire it to those who watch."""
        self._metrics = metrics
        self._health = health
        self._clock = clock
        self._away = False
        self._forgotten = 0

    def beat(self) -> None:
        """The loop makes progress."""
        self._health.beat()
        self._metrics.progress.set(self._clock.now_s())

    def lost(self, why: Exception, operation: Operation) -> None:
        """The broker does not answer; one line an outage."""
        if not self._away:
            self._metrics.connection_losses.inc()
            log.warning("broker away, trying again", why=str(why), operation=operation)
        self._away, self._health.connected = True, False
        self._metrics.connected.set(0)

    def answered(self) -> None:
        """The broker answers."""
        if not self._health.connected:
            log.info("broker answers")
        self._away, self._health.connected = False, True
        self._metrics.connected.set(1)

    def settled(self, learning: int) -> None:
        """The group has given us our partitions; of some we do not know yet what is open."""
        self._health.assigned, self._health.restoring = True, learning

    def began(self, partition: Partition, learn_from: int, live_from: int, gone: int) -> None:
        """A partition is ours; `gone` messages were deleted before we could read them."""
        tell = log.error if gone else log.info
        tell(
            "partition begun", partition=partition.number, learns=live_from - learn_from,
            **({"lost_by_retention": gone} if gone else {}),
        )  # fmt: skip

    def asked(self, answer: Answer, seconds: float) -> None:
        """The sink was asked."""
        self._metrics.attempt.labels(self._metrics.sink).observe(seconds)
        taken = answer.good or answer.refused
        if taken and self._health.away:
            log.info("the sink answers", sink=self._metrics.sink)
        if not taken:
            self._metrics.retries.labels(self._metrics.sink).inc()
        saw = answer.status or "no answer"
        why = "" if taken else f"expected the {self._metrics.sink} to take an alert, saw {saw}"
        if why not in {"", self._health.away}:
            log.warning("the sink is away, trying again", why=f"{why}: {answer.said}")
        self._health.away = why
        self._metrics.reachable.labels(self._metrics.sink).set(taken)

    def resent(self) -> None:
        """What is open was told again."""
        self._metrics.resends.labels(self._metrics.sink).inc()

    def delivered(self, stamp_s: float) -> None:
        """A message is where it should be."""
        self._metrics.alerts.labels(self._metrics.sink, "delivered").inc()
        delay_s = max(self._clock.now_s() - stamp_s, 0.0)
        self._metrics.delay.labels(self._metrics.sink).observe(delay_s)

    def refused(self, partition: Partition, offset: int, answer: Answer) -> None:
        """A message will never be taken; it stays in the topic, and that is all."""
        self._metrics.alerts.labels(self._metrics.sink, "refused").inc()
        log.error(
            "an alert is refused and passed over", partition=partition.number, offset=offset,
            why=f"expected the {self._metrics.sink} to take it, saw {answer.status}: {answer.said}",
        )  # fmt: skip

    def unreadable(self, partition: Partition, offset: int, why: str) -> None:
        """A record is no alert."""
        self._metrics.alerts.labels(self._metrics.sink, "unreadable").inc()
        log.error(
            "a record is no alert and passed over", partition=partition.number, offset=offset,
            why=why,
        )  # fmt: skip

    def uncommitted(self, why: Exception) -> None:
        """A commit was not kept, because the group moves; it is made again."""
        log.info("a commit was not kept", why=str(why))

    def gauges(
        self, lag: dict[Partition, int], gone: frozenset[Partition], oldest_s: float | None
    ) -> None:
        """Where it stands; `oldest_s` is the Kafka time of the oldest message that waits."""
        if gone:
            self._metrics.lag.clear()
        for partition, behind in lag.items():
            self._metrics.lag.labels(str(partition.number)).set(behind)
        age_s = 0.0 if oldest_s is None else max(self._clock.now_s() - oldest_s, 0.0)
        self._metrics.oldest.set(age_s)

    def holds(self, alerts: int, forgotten: int) -> None:
        """So many alerts are held open, and so many were forgotten since the start."""
        self._metrics.open.set(alerts)
        self._metrics.forgotten.inc(forgotten - self._forgotten)
        self._forgotten = forgotten
