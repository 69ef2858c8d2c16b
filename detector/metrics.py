"""Every metric, in one table, which docs/metrics.md shows. The loop is the only one who records.

Names, units and suffixes are Prometheus's own. No label names a stream: their number has no
bound. What a single stream does is told on the topic of alerts.
"""

from collections.abc import Sequence
from typing import Literal, get_args

from prometheus_client import ProcessCollector

from detector.instruments import Table
from detector.records import BUDGET, GROUP, SILENT, Partition, Severity, Status
from detector.restore import OUTCOMES
from detector.scorer import Fate, What
from detector.validate import REASONS

# What the loop's time is divided into.
Stage = Literal["poll", "restore", "replay", "decode", "score", "emit", "commit", "checkpoint"]
# What is asked of the broker.
Operation = Literal["poll", "restore", "deliver", "commit", "control"]
OVERRIDES = ("muted", "threshold")
POSITIONS = ("read", "committed", "checkpointed")

TIMES_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
RESTORE_TIMES_S = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800)
DELAYS_S = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800, 3600, 86400, 604_800)
SIZES = (1, 4, 16, 64, 256, 1024, 4096, 16384, 65536)
DECADES = (0.5, 1, 1.5, 2, 2.5, 3, 3.5, 4, 5, 6, 8, 10)


class Metrics:
    """The daemon's metrics, on a registry of their own."""

    def __init__(self, kinds: Sequence[str], *, several: bool = False) -> None:
        """Register all of them.

        Args:
            kinds: Of evidence, as the model names them.
            several: Partitions may be of several topics.
        """
        self.kinds = tuple(kinds)
        self._several = several
        table = self.table = Table()
        self.registry = table.registry
        self._input(table)
        self._output(table, kinds)
        self._time(table)
        self._state(table)
        self._restores(table)
        self._place(table)
        self._broker(table)
        self._what_runs(table)
        self._what_changes(table, kinds)
        ProcessCollector(registry=self.registry)

    def name(self, partition: Partition) -> str:
        """Return what a partition is called in a label: its number, if that is enough."""
        topic = f"{partition.topic}/" if self._several else ""
        return f"{topic}{partition.number}"

    def _input(self, table: Table) -> None:
        table.section = "What comes in"
        counter = table.counter
        self.records = counter("detector_records_total", "Records read from Kafka.")
        self.readings = counter("detector_readings_total", "Readings scored.")
        self.warming = counter(
            "detector_warming_readings_total", "Readings scored during warm-up, not alerted."
        )
        self.unrouted = counter(
            "detector_unrouted_records_total",
            "Records whose streams only a route without a model takes: counted, no more.",
        )
        self.late = counter(
            "detector_late_readings_total",
            "Readings (of the long layout: values) not newer than their stream's (tag's) last: "
            "dropped.",
        )
        self.duplicates = counter(
            "detector_duplicate_readings_total", "Late readings with the very time of the last."
        )
        self.dead_letters = counter(
            "detector_dead_letters_total", "Records set aside, by what is wrong.", reason=REASONS
        )
        self.unknown_values = counter(
            "detector_unknown_values_total", "Values of channels the model does not know: ignored."
        )
        self.out_of_bounds = counter(
            "detector_out_of_bounds_values_total", "Values no sensor can measure: taken as missing."
        )
        self.starts = counter(
            "detector_stream_starts_total", "Streams that began to warm up: new, or after a gap."
        )
        self.gaps = counter(
            "detector_stream_gaps_total", "Streams that began afresh after too long a silence."
        )

    def _output(self, table: Table, kinds: Sequence[str]) -> None:
        table.section = "What is said"
        severities, told = get_args(Severity), (*kinds, SILENT, BUDGET, GROUP)
        self.alerts = table.counter(
            "detector_alerts_total",
            "Alert messages sent: openings, escalations, closings. Exemplars: alert and stream.",
            kind=told, severity=severities, status=get_args(Status),
        )  # fmt: skip
        self.withheld = table.counter(
            "detector_withheld_alerts_total",
            "Openings beyond judge.opens_per_hour: counted in a summary instead of told.",
        )
        self.grouped = table.counter(
            "detector_grouped_alerts_total",
            "Openings that joined a group of judge.group_streams, instead of being told.",
        )
        self.open_alerts = table.gauge(
            "detector_open_alerts", "Alerts open now.", kind=told, severity=severities
        )
        self.alerting = table.gauge(
            "detector_alerting_streams", "Streams with at least one open alert."
        )
        self.muted_alerts = table.counter(
            "detector_muted_alerts_total",
            "Of the alert messages sent, those marked as muted by an operator.",
        )
        self.overrides = table.gauge(
            "detector_overrides",
            "What operators say of streams now: mutes in force, thresholds of their own. The same "
            "on every replica.",
            what=OVERRIDES,
        )
        self.bad_overrides = table.counter(
            "detector_bad_overrides_total", "Records of the control topic that say nothing known."
        )
        self.rarity = table.distribution(
            "detector_score_rarity_decades",
            "How rare scores past warm-up are among normal readings, in powers of ten: of normal "
            "readings one in 100 is above 2, one in 1,000 above 3.",
            DECADES, kind=kinds,
        )  # fmt: skip
        self.drift = table.gauge(
            "detector_score_drift",
            "How far recent scores are from those the model was calibrated on (population "
            "stability index, fading by half in six hours): 0.25 is much; below 0 they are lower.",
            model=(),
            kind=kinds,
        )

    def _time(self, table: Table) -> None:
        table.section = "How long it takes"
        self.delay = table.distribution(
            "detector_delay_seconds",
            "Age (event time) of a reading when it was scored and all it caused was delivered.",
            DELAYS_S,
        )
        self.stage = table.histogram(
            "detector_stage_seconds",
            "Time in a stage of the loop; poll waits for records, emit is the delivery of what a "
            "poll caused.",
            TIMES_S, stage=get_args(Stage),
        )  # fmt: skip
        self.poll_records = table.histogram(
            "detector_poll_records", "Records that a poll brought of one partition.", SIZES
        )
        self.tick = table.distribution(
            "detector_tick_streams", "Streams that a step of the model scores at once.", SIZES
        )

    def _state(self, table: Table) -> None:
        table.section = "What is kept of streams"
        self.streams = table.gauge("detector_streams", "Streams whose state is held.")
        self.max_streams = table.gauge(
            "detector_max_streams", "Beyond these, the streams longest idle are forgotten."
        )
        self.state_bytes = table.gauge("detector_state_bytes", "Memory that their state takes.")
        self.evicted = table.counter(
            "detector_evicted_streams_total", "Streams forgotten: idle, or too many."
        )
        self.checkpoints = table.counter(
            "detector_checkpoints_total", "Times that a partition's state was written."
        )
        self.checkpoint_bytes = table.counter(
            "detector_checkpoint_written_bytes_total", "State written."
        )

    def _restores(self, table: Table) -> None:
        table.section = "After a start or a rebalance"
        self.restores = table.counter(
            "detector_restores_total",
            "Partitions begun: with their state, or without it and why.",
            outcome=OUTCOMES,
        )
        self.restoring = table.gauge(
            "detector_restoring_partitions", "Partitions held whose readings do not count yet."
        )
        self.restore_left = table.gauge(
            "detector_restore_left_records", "Records of state still to read."
        )
        self.restore_time = table.histogram(
            "detector_restore_seconds", "From a partition's assignment to its state.",
            RESTORE_TIMES_S,
        )  # fmt: skip
        self.restore_bytes = table.counter("detector_restore_read_bytes_total", "State read.")
        self.replayed = table.counter(
            "detector_replayed_readings_total", "Readings read again in silence after a restore."
        )
        self.stuck_restores = table.counter(
            "detector_stuck_restores_total", "Restores that met a transaction that never ends."
        )

    def _place(self, table: Table) -> None:
        table.section = "Where it stands"
        self.partitions = table.gauge("detector_assigned_partitions", "Partitions held.")
        self.lag = table.gauge(
            "detector_lag_records", "Records of a partition not read yet.", partition=()
        )
        self.position = table.gauge(
            "detector_position_offset", "Next record to read, to commit, to checkpoint.",
            partition=(), position=POSITIONS,
        )  # fmt: skip
        self.last_record = table.gauge(
            "detector_last_record_timestamp_seconds",
            "When the last record of a partition was read, by this process since its start.",
            partition=(),
        )
        self.commits = table.counter("detector_commits_total", "Commits acknowledged.")
        self.units = table.counter(
            "detector_deliveries_total", "Commits that said something or kept state."
        )
        self.dropped_commits = table.counter(
            "detector_dropped_commits_total",
            "Commits of nothing said, refused while partitions moved: read again.",
        )

    def _broker(self, table: Table) -> None:
        table.section = "The broker and the group"
        self.connected = table.gauge(
            "detector_broker_connected", "1 while the broker answers, 0 otherwise."
        )
        self.connection_losses = table.counter(
            "detector_broker_losses_total", "Outages: times that the broker began not to answer."
        )
        self.broker_errors = table.counter(
            "detector_broker_errors_total",
            "Attempts that the broker did not answer; each is made again.",
            operation=get_args(Operation),
        )
        self.registry_errors = table.counter(
            "detector_registry_errors_total",
            "Attempts that the schema registry did not answer; each is made again.",
        )
        self.rebalances = table.counter("detector_rebalances_total", "Polls that moved partitions.")
        self.lost_partitions = table.counter(
            "detector_lost_partitions_total", "Partitions that the group gave to others unasked."
        )

    def _what_runs(self, table: Table) -> None:
        table.section = "What runs"
        self.model = table.gauge(
            "detector_model_info", "1 for the model in use.", name=(), version=()
        )
        self.config = table.gauge(
            "detector_config_info",
            "1 for the settings in use; replicas of one group should have the same hash.",
            hash=(),
        )
        self.build = table.gauge("detector_build_info", "1 for the release that runs.", version=())
        self.progress = table.gauge(
            "detector_progress_timestamp_seconds", "When the loop last went round."
        )
        self.watchdog = table.gauge(
            "detector_watchdog_limit_seconds", "The process is ended when the loop stands still "
            "for so long.",
        )  # fmt: skip

    def _what_changes(self, table: Table, kinds: Sequence[str]) -> None:
        table.section = "What changes while it runs"
        self.reloads = table.counter(
            "detector_reloads_total",
            "Attempts to change model, candidate or settings without a restart.",
            what=get_args(What), outcome=get_args(Fate),
        )  # fmt: skip
        self.shadow = table.gauge(
            "detector_shadow_info",
            "1 for a model that scores beside the one in use: the `next` one, or a `candidate`.",
            role=(), name=(), version=(),
        )  # fmt: skip
        self.awaiting = table.gauge(
            "detector_awaiting_partitions", "Partitions that the next model does not judge yet."
        )
        self.shadow_alerts = table.counter(
            "detector_shadow_alerts_total", "Alerts the candidate would have opened.", kind=kinds
        )
        self.shadow_readings = table.counter(
            "detector_shadow_readings_total",
            "Readings past both models' warm-up: who has an alert open then.",
            alerting=("none", "both", "judging", "candidate"),
        )
        self.rank_correlation = table.gauge(
            "detector_shadow_rank_correlation",
            "Spearman's, of how rare both models find a reading; over the last 4,096.",
        )
