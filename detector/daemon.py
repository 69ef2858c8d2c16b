"""The daemon: everything wired together, started, stopped, and what its end means."""

import signal
import ssl
import sys
import uuid
from collections.abc import Callable, Sequence
from dataclasses import fields
from functools import partial
from importlib.metadata import version

import structlog

from detector.artifact import Manifest
from detector.changelog import KafkaChangelog
from detector.clock import Clock, SystemClock
from detector.cluster import Cluster
from detector.consumer import KafkaSource
from detector.control import KafkaControl
from detector.delivery import AtLeastOnce, Delivery, ExactlyOnce
from detector.emit import KafkaSink, LineSink, Sink
from detector.equip import equip
from detector.errors import (
    ConnectionLost,
    DeadLetterLimit,
    DetectorError,
    MembershipLost,
    OutputRefused,
    SettingsRejected,
)
from detector.expose import Health, Server, notifier
from detector.garbage import collect_rarely
from detector.group import Subscription
from detector.lane import Keeping
from detector.limit import DeadLetters
from detector.logs import set_up_logs
from detector.messages import Topics
from detector.metrics import Metrics
from detector.model import StepModel
from detector.override_recorder import OverrideRecorder
from detector.overrides import Overrides
from detector.pipeline import Pipeline, Timing
from detector.recorder import Recorder
from detector.records import US_PER_S
from detector.reload import Reload
from detector.renewal import settings_file
from detector.routed import LAST, headers_for, routes_of, settings_for
from detector.routes import Routes
from detector.schemas import Schemas, schemas_of
from detector.scorer import Scorer
from detector.settings import Settings, fingerprint, notify_socket
from detector.source import Source
from detector.steering import Steering
from detector.successions import Outside
from detector.topic_names import alert_topics, control_topic, inputs_of, state_topic
from detector.transactions import TransactionalSink
from detector.trusted import load_trusted
from detector.watchdog import Watchdog
from detector.wire import from_json

EXIT_FAILED = 1
EXIT_BAD_INPUT = 3

log = structlog.get_logger()


def run(settings: Settings, read: Callable[[], Settings]) -> int:
    """Run until asked to stop; return the exit code.

    Args:
        settings: What to start with.
        read: Reads them again, when their file has changed.

    Raises:
        Refused: If the settings, the model or the state are not ones to start with.
    """
    collect_rarely()
    overrides, schemas = Overrides(), schemas_of(settings.input)
    make = partial(equip, overrides=overrides, unpack=schemas.unpack if schemas else from_json)
    reload = Reload(settings, read, make, settings_file(), _tune)  # sees what changes from now
    signal.signal(signal.SIGHUP, lambda *_: reload.hurry())
    routes = _routes(settings, make)
    models = {one.name: one.scorers[0].engine.model for one in routes.each if one.scorers}
    metrics, clock = _metrics(settings, list(models.values())), SystemClock()
    metrics.progress.set(clock.now_s())
    health = Health(clock, settings.http.stall_s, notifier(notify_socket()))
    health.beat()
    server = _serve(settings, metrics, health)
    source = KafkaSource(_subscription(settings), clock)
    sink, delivery = _delivery(settings, source)
    keeping = keeping_of(settings)
    changelog = _changelog(settings, keeping, clock)
    recorder = Recorder(metrics, health, clock)
    steering = Steering(_control(settings), overrides, OverrideRecorder(metrics), clock)
    pipeline = _pipeline(
        settings, routes, source, delivery, changelog, recorder, clock, steering, schemas, reload
    )
    watchdog = Watchdog(health, clock, settings.delivery.watchdog_s)
    watchdog.start()
    _stop_on_signals(pipeline)
    reload.start(models)
    _log_start(settings, models[LAST].manifest, server.port)
    try:
        pipeline.run()
    except (ConnectionLost, MembershipLost, OutputRefused, DeadLetterLimit) as error:
        return _explain(error)
    finally:
        health.notify("STOPPING=1")
        for one in (reload, source, sink, changelog, steering, server, watchdog):
            if one is not None:
                one.close()
    log.info("stopped", why="asked to")
    return 0


def _log_start(settings: Settings, manifest: Manifest, port: int) -> None:
    http = settings.http
    log.info(
        "started",
        model=manifest.name,
        version=manifest.version[:12],
        **({"routes": [one.name for one in settings.routes]} if settings.routes else {}),
        topic=settings.kafka.topic,
        group=settings.kafka.group,
        guarantee=settings.delivery.guarantee,
        metrics=f"{'https' if http.certfile else 'http'}://{http.host}:{port}/metrics",
    )


def keeping_of(settings: Settings) -> Keeping:
    """Return how state is kept."""
    return Keeping(
        None if settings.output.to == "stdout" else state_topic(settings),
        settings.delivery.checkpoint_interval_s,
        int(settings.state.ttl_s * US_PER_S),
        settings.state.max_streams,
    )


def _tune(settings: Settings) -> None:
    """Apply settings that have changed to what is the process's own."""
    set_up_logs(settings.log.level, settings.log.format)


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


def _routes(settings: Settings, make: Callable[..., Scorer]) -> Routes:
    """Load each route's model and let it judge."""

    def scorer(name: str) -> Scorer:
        own = settings_for(settings, name)
        return make(own, load_trusted(own), route=name)

    return routes_of(settings, scorer)


def _metrics(settings: Settings, models: Sequence[StepModel]) -> Metrics:
    """Return the metrics, with those set that never change."""
    kinds = dict.fromkeys(kind for model in models for kind in model.manifest.kinds)
    metrics = Metrics(list(kinds), several=inputs_of(settings).several)
    metrics.config.labels(fingerprint(settings)).set(1)
    metrics.build.labels(version("sensor-anomaly-detector")).set(1)
    metrics.max_streams.set(settings.state.max_streams)
    metrics.watchdog.set(settings.delivery.watchdog_s)
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
    return Topics(
        output.alerts_topic, output.dead_letters_topic, output.scores_topic, settings.shadow.topic
    )


def _pipeline(  # noqa: PLR0913, PLR0917 - called once
    settings: Settings,
    routes: Routes,
    source: Source,
    delivery: Delivery,
    changelog: KafkaChangelog | None,
    recorder: Recorder,
    clock: Clock,
    steering: Steering,
    schemas: Schemas | None,
    outside: Outside,
) -> Pipeline:
    return Pipeline(
        source=source,
        changelog=changelog,
        routes=routes,
        delivery=delivery,
        topics=_topics(settings),
        keeping=keeping_of(settings),
        limit=DeadLetters(settings.dead_letter_limit.consecutive, settings.dead_letter_limit.share),
        recorder=recorder,
        clock=clock,
        timing=_timing(settings),
        steering=steering,
        schemas=schemas,
        outside=outside,
    )


def _cluster(settings: Settings) -> Cluster:
    return Cluster(settings.kafka.bootstrap_servers, settings.kafka)


def _subscription(settings: Settings) -> Subscription:
    own = {"bootstrap_servers", "headers", "never"}
    names = {field.name for field in fields(Subscription)} - own
    asked = settings.kafka.model_dump(include=names)
    headers, never = headers_for(settings), inputs_of(settings).never
    return Subscription(_cluster(settings), headers=headers, never=never, **asked)


def _delivery(settings: Settings, source: Source) -> tuple[Sink, Delivery]:
    if settings.output.to == "stdout":  # lines cannot be taken back
        lines = LineSink(sys.stdout)
        return lines, AtLeastOnce(source, lines)
    topics, kafka = _topics(settings), settings.kafka
    others = [topics.dead_letters, topics.scores, topics.shadow]
    names = sorted({*alert_topics(settings), *filter(None, others)})
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
    # The broker looks for transactions that are too old every ten seconds.
    hang_s = 2 * settings.delivery.transaction_timeout_s + 10
    return KafkaChangelog(_cluster(settings), keeping.topic, inputs_of(settings), clock, hang_s)


def _control(settings: Settings) -> KafkaControl | None:
    if settings.output.to == "stdout":  # keeps nothing, makes no topics
        return None
    return KafkaControl(_cluster(settings), control_topic(settings))


def _timing(settings: Settings) -> Timing:
    delivery = settings.delivery
    return Timing(
        delivery.commit_interval_s, delivery.shutdown_timeout_s, settings.kafka.session_timeout_s
    )
