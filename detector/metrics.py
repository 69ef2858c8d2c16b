"""Every metric, in one table. The loop is the only one who records them."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from detector.restore import OUTCOMES

TIMES_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
DELAYS_S = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800, 3600, 86400)
SIZES = (1, 4, 16, 64, 256, 1024, 4096, 16384, 65536)


class Metrics:
    """The daemon's metrics on a registry of their own. No label names a stream."""

    def __init__(self) -> None:
        """Register all of them; a label that can be known beforehand starts at 0."""
        r = self.registry = CollectorRegistry()
        # What came in.
        self.records = Counter("detector_records", "Records read from Kafka.", registry=r)
        self.readings = Counter("detector_readings", "Readings scored.", registry=r)
        self.warming = Counter(
            "detector_warming_readings", "Readings scored during warm-up, not alerted.", registry=r
        )
        self.late = Counter(
            "detector_late_readings", "Readings not newer than their stream's last.", registry=r
        )
        self.duplicates = Counter(
            "detector_duplicate_readings", "Late readings with the very time of the last.",
            registry=r,
        )  # fmt: skip
        self.gaps = Counter(
            "detector_stream_gaps", "Streams that began afresh after too long a silence.",
            registry=r,
        )  # fmt: skip
        self.restarts = Counter(
            "detector_stream_starts", "Streams that began afresh: new, or after a gap.", registry=r
        )
        self.replayed = Counter(
            "detector_replayed_readings", "Readings read again in silence after a restore.",
            registry=r,
        )  # fmt: skip
        self.unknown_values = Counter(
            "detector_unknown_values", "Values of channels the model does not know.", registry=r
        )
        self.out_of_bounds = Counter(
            "detector_out_of_bounds_values", "Values no sensor can measure: missing.", registry=r
        )
        # What went out.
        self.dead_letters = Counter(
            "detector_dead_letters", "Records set aside.", ["reason"], registry=r
        )
        self.alerts = Counter(
            "detector_alerts", "Alert messages sent.", ["kind", "severity", "status"], registry=r
        )
        self.open_alerts = Gauge("detector_open_alerts", "Alerts open now.", ["kind"], registry=r)
        # How long things take.
        self.stage = Histogram(
            "detector_stage_seconds", "Time a poll spends in a stage.", ["stage"],
            buckets=TIMES_S, registry=r,
        )  # fmt: skip
        self.delay = Histogram(
            "detector_delay_seconds", "Age (event time) of the newest reading of a poll when it "
            "was scored.", buckets=DELAYS_S, registry=r,
        )  # fmt: skip
        self.tick = Histogram(
            "detector_tick_streams", "Streams a step of the model scores at once.",
            buckets=SIZES, registry=r,
        )  # fmt: skip
        # Where it stands.
        self.lag = Gauge(
            "detector_lag_records", "Records of a partition not read yet.", ["partition"],
            registry=r,
        )  # fmt: skip
        self.streams = Gauge("detector_streams", "Streams whose state is held.", registry=r)
        self.state_bytes = Gauge("detector_state_bytes", "Bytes of their state.", registry=r)
        self.partitions = Gauge("detector_assigned_partitions", "Partitions held.", registry=r)
        self.connected = Gauge(
            "detector_broker_connected", "1 while the broker answers, 0 otherwise.", registry=r
        )
        self.connection_losses = Counter(
            "detector_broker_losses", "Times the broker did not answer.", registry=r
        )
        self.rebalances = Counter("detector_rebalances", "Polls that moved partitions.", registry=r)
        self.lost_partitions = Counter(
            "detector_lost_partitions", "Partitions that the group gave to others unasked.",
            registry=r,
        )  # fmt: skip
        # What is kept.
        self.commits = Counter("detector_commits", "Commits acknowledged.", registry=r)
        self.units = Counter(
            "detector_deliveries", "Commits that said something or kept state.", registry=r
        )
        self.dropped_commits = Counter(
            "detector_dropped_commits", "Commits of nothing said, refused while partitions moved.",
            registry=r,
        )  # fmt: skip
        self.position = Gauge(
            "detector_position_offset", "Next record to read, to commit, to checkpoint.",
            ["partition", "position"], registry=r,
        )  # fmt: skip
        self.checkpoints = Counter("detector_checkpoints", "Partition states written.", registry=r)
        self.checkpoint_bytes = Counter(
            "detector_checkpoint_written_bytes", "Bytes of state written.", registry=r
        )
        self.evicted = Counter(
            "detector_evicted_streams", "Streams forgotten: idle, or too many.", registry=r
        )
        self.restores = Counter(
            "detector_restores", "Partitions that went on with their state, or why not.",
            ["outcome"], registry=r,
        )  # fmt: skip
        for outcome in OUTCOMES:
            self.restores.labels(outcome)
        self.restore_time = Histogram(
            "detector_restore_seconds", "From a partition's assignment to its state.",
            buckets=TIMES_S, registry=r,
        )  # fmt: skip
        self.stuck_restores = Counter(
            "detector_stuck_restores", "Restores that met a transaction that never ends.",
            registry=r,
        )  # fmt: skip
        self.restoring = Gauge("detector_restoring_partitions", "Restored right now.", registry=r)
        self.restore_left = Gauge(
            "detector_restore_left_records", "Records of state still to read.", registry=r
        )
        self.model = Gauge(
            "detector_model_info", "1 for the model in use.", ["name", "version"], registry=r
        )
