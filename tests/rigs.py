"""A pipeline with everything in memory, to be driven turn by turn."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial

from fakes import (
    ManualClock,
    MemoryBroker,
    MemoryChangelog,
    MemoryControl,
    MemorySink,
    MemorySource,
    Record,
    StubModel,
    manifest,
)

from detector.artifact import Manifest
from detector.budget import Limits
from detector.delivery import AtLeastOnce, ExactlyOnce
from detector.engine import Engine
from detector.expose import Health
from detector.judge import rules
from detector.lane import Keeping
from detector.limit import DeadLetters
from detector.messages import Topics
from detector.metrics import Metrics
from detector.model import StepModel
from detector.override_recorder import OverrideRecorder
from detector.overrides import Overrides
from detector.pipeline import Pipeline, Timing
from detector.recorder import Recorder
from detector.records import Partition
from detector.routes import Route, Routes
from detector.scorer import Lineup, News, Scorer
from detector.silence import Silence
from detector.steering import Steering
from detector.thresholds import Thresholds
from detector.validate import Format

ZERO, ONE = Partition("readings", 0), Partition("readings", 1)


TOPICS = Topics("alerts", "dead-letters")
FORM = Format(("c0", "c1"))
KEEPING = Keeping("state", interval_s=30)
DEPTH = 3
OTHER = manifest(version="2" * 64, warm_up=1)


@dataclass
class Rig:
    """A pipeline with everything in memory."""

    broker: MemoryBroker = field(default_factory=lambda: MemoryBroker({ZERO: []}))
    topics: Topics = TOPICS
    max_poll_records: int = 5000
    limit: DeadLetters = field(default_factory=lambda: DeadLetters(1000, 1.0))
    guarantee: str = "exactly_once"
    about: Manifest = field(default_factory=manifest)
    alarms_per_day: float = 10
    keeping: Keeping = KEEPING
    silence: Silence | None = None
    limits: Limits | None = None
    source_type: type[MemorySource] = MemorySource
    sink_type: type[MemorySink] = MemorySink
    form: Format = FORM
    model: StepModel | None = None  # in place of the stub
    news: list[News] = field(default_factory=list)  # from outside, while it runs
    apart: str | None = None  # streams that go to a model of their own

    def __post_init__(self) -> None:
        self.clock = ManualClock()
        self.told: list[str] = []
        self.metrics = Metrics(self.about.kinds)
        self.health = Health(self.clock, 60, self.told.append)
        self.source = self.source_type(self.broker, self.max_poll_records)
        sink = self.sink_type(self.broker)
        promise = AtLeastOnce if self.guarantee == "at_least_once" else ExactlyOnce
        self.overrides = Overrides()
        self.control = MemoryControl(self.broker)
        told = OverrideRecorder(self.metrics)
        self.pipeline = Pipeline(
            source=self.source,
            changelog=MemoryChangelog(self.broker),
            routes=self.routes(),
            delivery=promise(self.source, sink),
            topics=self.topics,
            keeping=self.keeping,
            limit=self.limit,
            recorder=Recorder(self.metrics, self.health, self.clock),
            clock=self.clock,
            timing=Timing(commit_s=5, shutdown_s=20, session_s=45),
            steering=Steering(self.control, self.overrides, told, self.clock),
            outside=self,
        )

    def take(self) -> News | None:
        """Be what changes models and settings while the loop runs."""
        return self.news.pop(0) if self.news else None

    def scorer(self, model: StepModel | None = None, rate: float | None = None) -> Scorer:
        model = model or self.model or StubModel(self.about)
        engine = Engine(
            model,
            rules(model.manifest, rate or self.alarms_per_day),
            self.silence,
            self.limits,
            Thresholds(self.overrides, partial(rules, model.manifest)),
        )
        return Scorer(engine, self.form, DEPTH)

    def routes(self) -> Routes:
        routes = [Route((self.scorer(),), self.topics.alerts)]
        if self.apart:
            other = self.scorer(StubModel(OTHER))
            routes.insert(0, Route((other,), "others", "other", streams=self.apart))
        return Routes(routes)

    def line_up(
        self,
        judging: StepModel,
        candidate: StepModel | None = None,
        rate: float | None = None,
        patience_s: float = 1e6,
    ) -> None:
        """Let other models score from the next turn on."""
        made = [self.scorer(model, rate) if model else None for model in (judging, candidate)]
        first = made[0]
        assert first is not None
        make = partial(self.scorer, rate=rate)
        self.news.append(Lineup(first, made[1], make, patience_s, (1000, 1.0), "cafe"))

    def turn(self) -> None:
        """Poll and step, until what is there is read."""
        for _ in range(200):
            polled = self.pipeline._patience.attempt(self.source.poll, "poll")
            assert polled is not None
            self.pipeline.step(polled)
            lag = self.source.lag().values()
            if lag and not self.pipeline._owned.loading and not any(lag):
                break

    def finish(self, *, checkpoint: bool = True) -> None:
        """Read all, then stop as a signal would; or commit, and crash."""
        self.turn()
        if checkpoint:
            self.pipeline.stop()
            self.pipeline.run()
        else:
            self.pipeline._commit()

    def gauge(self) -> None:
        """Set the gauges, whether or not it is time."""
        held, lag = self.pipeline._owned.held, self.source.lag()
        self.pipeline._recorder.gauges(held, lag, self.pipeline._ledger)

    def value(self, name: str, /, **labels: str) -> float | None:
        return self.metrics.registry.get_sample_value(name, labels)


def write(broker: MemoryBroker, values: Sequence[float | str], stream: bytes = b"s") -> None:
    """Append readings, one a second; a text is a value as it stands."""
    log = broker.partitions[ZERO]
    for value in values:
        ts = 1_700_000_000 + len(log)
        body = value if isinstance(value, str) else json.dumps({"ts": ts, "values": [value, 0]})
        log.append(Record(stream, body.encode()))


CALM, WILD = [0.0] * 8, [50.0, -50.0, 60.0]


def ids(broker: MemoryBroker) -> list[tuple[str, str]]:
    """Return id and status of every alert that was sent."""
    bodies = [json.loads(m.value or b"") for m in broker.sent if m.topic == "alerts"]
    return [(body["id"], body["status"]) for body in bodies]
