"""The daemon: everything wired together, started, stopped, and what its end means."""

import signal
import ssl
import sys
import uuid
from dataclasses import fields
from importlib.metadata import version

import structlog

from detector.artifact import Manifest
from detector.budget import Limits
from detector.changelog import KafkaChangelog
from detector.clock import Clock, SystemClock
from detector.cluster import Cluster
from detector.consumer import KafkaSource
from detector.control import KafkaControl
from detector.delivery import AtLeastOnce, Delivery, ExactlyOnce
from detector.emit import KafkaSink, LineSink, Sink
from detector.engine import Engine
from detector.errors import (
    ConnectionLost,
    DeadLetterLimit,
    DetectorError,
    MembershipLost,
    OutputRefused,
    SettingsRejected,
)
from detector.expose import Health, Server, notifier
from detector.group import Subscription
from detector.judge import Rules, rules
from detector.limit import DeadLetters
from detector.mapping import form_of, headers_of
from detector.metrics import Metrics
from detector.override_recorder import OverrideRecorder
from detector.overrides import Overrides
from detector.partitions import Keeping
from detector.pipeline import Pipeline, Timing, Topics
from detector.recorder import Recorder
from detector.records import US_PER_S
from detector.ring import ring_depth
from detector.schemas import schemas_of
from detector.settings import (
    Settings,
    control_topic,
    fingerprint,
    notify_socket,
    state_topic,
)
from detector.silence import Silence
from detector.source import Source
from detector.steering import Steering
from detector.telling import Judge
from detector.thresholds import Thresholds
from detector.transactions import TransactionalSink
from detector.trusted import load_trusted
from detector.watchdog import Watchdog
from detector.wire import from_json

EXIT_FAILED = 1
EXIT_BAD_INPUT = 3

log = structlog.get_logger()


def run(settings: Settings) -> int:
    """Run until asked to stop; return the exit code.

    Raises:
        Refused: If the settings, the model or the state are not ones to start with.
    """
    model = load_trusted(settings)
    manifest, clock = model.manifest, SystemClock()
    metrics = _metrics(settings, manifest, clock)
    health = Health(clock, settings.http.stall_s, notifier(notify_socket()))
    health.beat()
    server = _serve(settings, metrics, health)
    source = KafkaSource(_subscription(settings), clock)
    sink, delivery = _delivery(settings, source)
    keeping = keeping_of(settings, manifest)
    changelog = _changelog(settings, keeping, clock)
    recorder = Recorder(metrics, health, clock, manifest)
    overrides = Overrides()
    steering = Steering(_control(settings), overrides, OverrideRecorder(metrics), clock)
    engine = Engine(
        model,
        rules_of(manifest, settings.judge),
        silence_of(settings),
        telling_of(settings.judge),
        _thresholds(overrides, settings, manifest),
    )
    pipeline = _pipeline(
        settings, engine, source, delivery, changelog, keeping, recorder, clock, steering
    )
    watchdog = Watchdog(health, clock, settings.delivery.watchdog_s)
    watchdog.start()
    _stop_on_signals(pipeline)
    log.info(
        "started",
        model=manifest.name,
        version=manifest.version[:12],
        topic=settings.kafka.topic,
        group=settings.kafka.group,
        guarantee=settings.delivery.guarantee,
        metrics=f"{'https' if settings.http.certfile else 'http'}://{settings.http.host}:{server.port}/metrics",
    )
    try:
        pipeline.run()
    except (ConnectionLost, MembershipLost, OutputRefused, DeadLetterLimit) as error:
        return _explain(error)
    finally:
        health.notify("STOPPING=1")
        source.close()
        sink.close()
        if changelog is not None:
            changelog.close()
        steering.close()
        server.close()
        watchdog.close()
    log.info("stopped", why="asked to")
    return 0


def keeping_of(settings: Settings, manifest: Manifest) -> Keeping:
    """Return how state is kept."""
    return Keeping(
        None if settings.output.to == "stdout" else state_topic(settings),
        settings.delivery.checkpoint_interval_s,
        int(settings.state.ttl_s * US_PER_S),
        settings.state.max_streams,
        ring_depth(len(manifest.channels), settings.judge.readings_before),
    )


def silence_of(settings: Settings) -> Silence:
    """Return when a stream is silent, and when it is gone."""
    return Silence(settings.judge.silent_after, int(settings.state.ttl_s * US_PER_S))


def telling_of(settings: Judge) -> Limits:
    """Return how much a partition tells."""
    streams = settings.group_streams if settings.group_streams > 1 else None
    return Limits(settings.opens_per_hour, streams, int(settings.group_within_s * US_PER_S))


def rules_of(manifest: Manifest, settings: Judge) -> Rules:
    """Return when to open and close an alert."""
    return rules(
        manifest,
        settings.false_alarms_per_stream_day,
        close_share=settings.close_share,
        open_after=settings.open_after,
        close_after=settings.close_after,
        cool_down_s=settings.cool_down_s,
        lasting_s=settings.lasting_s,
    )


def _explain(error: DetectorError) -> int:
    """Say why it ended by itself; return the exit code."""
    what = {
        DeadLetterLimit: "too much bad input",
        OutputRefused: "a message is refused",
        MembershipLost: "our partitions are others' now",
        ConnectionLost: "not all was kept; it is read again",
    }
    said = next(text for kind, text in what.items() if isinstance(error, kind))
    log.error("stopped", what=said, why=str(error))
    return EXIT_BAD_INPUT if isinstance(error, DeadLetterLimit) else EXIT_FAILED


def _stop_on_signals(pipeline: Pipeline) -> None:
    def stop(number: int, _: object) -> None:
        for name in (signal.SIGTERM, signal.SIGINT):
            signal.signal(name, signal.SIG_DFL)  # a second one ends it at once
        log.info("stopping", signal=signal.Signals(number).name)
        pipeline.stop()

    for name in (signal.SIGTERM, signal.SIGINT):
        signal.signal(name, stop)


def _metrics(settings: Settings, manifest: Manifest, clock: Clock) -> Metrics:
    """Return the metrics, with those set that never change."""
    metrics = Metrics(manifest.kinds)
    metrics.model.labels(manifest.name, manifest.version[:12]).set(1)
    metrics.config.labels(fingerprint(settings)).set(1)
    metrics.build.labels(version("sensor-anomaly-detector")).set(1)
    metrics.max_streams.set(settings.state.max_streams)
    metrics.watchdog.set(settings.delivery.watchdog_s)
    metrics.progress.set(clock.now_s())
    return metrics


def _serve(settings: Settings, metrics: Metrics, health: Health) -> Server:
    http = settings.http
    try:
        return Server(http.host, http.port, metrics.registry, health, http)
    except ssl.SSLError as error:
        msg = (
            f"expected a certificate and its key in {http.certfile}, saw: {error}; mend "
            "DETECTOR_HTTP__CERTFILE or DETECTOR_HTTP__KEYFILE"
        )
        raise SettingsRejected(msg) from error
    except OSError as error:
        msg = (
            f"expected to listen on {http.host}:{http.port}, saw: {error.strerror}; free the "
            "port or set DETECTOR_HTTP__PORT"
        )
        raise SettingsRejected(msg) from error


def _topics(settings: Settings) -> Topics:
    output = settings.output
    return Topics(output.alerts_topic, output.dead_letters_topic, output.scores_topic)


def _pipeline(  # noqa: PLR0913, PLR0917 - called once
    settings: Settings,
    engine: Engine,
    source: Source,
    delivery: Delivery,
    changelog: KafkaChangelog | None,
    keeping: Keeping,
    recorder: Recorder,
    clock: Clock,
    steering: Steering,
) -> Pipeline:
    schemas = schemas_of(settings.input)
    unpack = schemas.unpack if schemas else from_json
    return Pipeline(
        source=source,
        changelog=changelog,
        engine=engine,
        delivery=delivery,
        form=form_of(engine.model.manifest, settings.input, unpack),
        topics=_topics(settings),
        keeping=keeping,
        limit=DeadLetters(settings.dead_letter_limit.consecutive, settings.dead_letter_limit.share),
        recorder=recorder,
        clock=clock,
        timing=_timing(settings),
        steering=steering,
        schemas=schemas,
    )


def _cluster(settings: Settings) -> Cluster:
    return Cluster(settings.kafka.bootstrap_servers, settings.kafka)


def _subscription(settings: Settings) -> Subscription:
    names = {field.name for field in fields(Subscription)} - {"bootstrap_servers", "headers"}
    asked = settings.kafka.model_dump(include=names)
    return Subscription(_cluster(settings), headers=headers_of(settings.input), **asked)


def _delivery(settings: Settings, source: Source) -> tuple[Sink, Delivery]:
    if settings.output.to == "stdout":  # lines cannot be taken back
        lines = LineSink(sys.stdout)
        return lines, AtLeastOnce(source, lines)
    topics, kafka = _topics(settings), settings.kafka
    names = [topics.alerts, topics.dead_letters, *filter(None, [topics.scores])]
    if settings.delivery.guarantee == "at_least_once":
        sink = KafkaSink(_cluster(settings), names)
        return sink, AtLeastOnce(source, sink)
    # A replica with a name fences its predecessor's transaction at once; others time out.
    name = kafka.group_instance_id or uuid.uuid4().hex
    transactions = TransactionalSink(
        _cluster(settings),
        names,
        f"{kafka.group}-{name}",
        settings.delivery.transaction_timeout_s,
    )
    return transactions, ExactlyOnce(source, transactions)


def _changelog(settings: Settings, keeping: Keeping, clock: Clock) -> KafkaChangelog | None:
    if keeping.topic is None:
        return None
    kafka = settings.kafka
    # The broker looks for transactions that are too old every ten seconds.
    hang_s = 2 * settings.delivery.transaction_timeout_s + 10
    return KafkaChangelog(_cluster(settings), keeping.topic, kafka.topic, clock, hang_s)


def _control(settings: Settings) -> KafkaControl | None:
    if settings.output.to == "stdout":  # keeps nothing, makes no topics
        return None
    return KafkaControl(_cluster(settings), control_topic(settings))


def _thresholds(overrides: Overrides, settings: Settings, manifest: Manifest) -> Thresholds:
    def rules_at(rate: float) -> Rules:
        changes = {"false_alarms_per_stream_day": rate}
        return rules_of(manifest, settings.judge.model_copy(update=changes))

    return Thresholds(overrides, rules_at)


def _timing(settings: Settings) -> Timing:
    delivery = settings.delivery
    return Timing(
        delivery.commit_interval_s, delivery.shutdown_timeout_s, settings.kafka.session_timeout_s
    )
