"""`detector relay`: everything wired together, started, stopped, and what its end means."""

import signal
from importlib.metadata import version
from pathlib import Path

import structlog

from detector.clock import SystemClock
from detector.cluster import Cluster
from detector.consumer import KafkaSource
from detector.errors import ConnectionLost, MembershipLost, SettingsRejected
from detector.expose import Server, notifier
from detector.group import Subscription
from detector.relay.alertmanager import PATH, Alertmanager
from detector.relay.board import Board
from detector.relay.endpoint import Endpoint
from detector.relay.loop import Loop
from detector.relay.outlet import Outlet
from detector.relay.watch import RelayHealth, RelayMetrics, Watch
from detector.relay.webhook import Webhook, keys_of
from detector.relay_settings import Relay
from detector.secret import Secret
from detector.settings import Settings, notify_socket
from detector.topic_names import alert_topics
from detector.watchdog import Watchdog

EXIT_FAILED = 1
POLL_RECORDS = 500  # one is handed on after the other: more would only wait

log = structlog.get_logger()


def relay(settings: Settings) -> int:
    """Relay until asked to stop; return the exit code.

    Raises:
        SettingsRejected: If the settings are not ones to start with.
    """
    ours, clock = settings.relay, SystemClock()
    check_files(ours)
    metrics = _metrics(settings)
    health = RelayHealth(clock, settings.http.stall_s, notifier(notify_socket()))
    watch = Watch(metrics, health, clock)
    watch.beat()
    server = _serve(settings, metrics, health)
    subscription = subscription_of(settings)
    source = KafkaSource(subscription, clock)
    stop_s = settings.delivery.shutdown_timeout_s
    loop = Loop(source, outlet_of(ours, clock), watch, clock, ours.replay_records, stop_s)
    watchdog = Watchdog(health, clock, settings.delivery.watchdog_s)
    watchdog.start()
    _stop_on_signals(loop)
    log.info(
        "started", to=ours.to, topic=subscription.topic, group=subscription.group,
        metrics=f"port {server.port}",
    )  # fmt: skip
    try:
        loop.run()
    except (ConnectionLost, MembershipLost) as error:
        why = str(error)  # a stack would say no more
        log.error("stopped", what="not all was kept; it is handed on again", why=why)  # noqa: TRY400
        return EXIT_FAILED
    finally:
        health.notify("STOPPING=1")
        source.close()
        server.close()
        watchdog.close()
    log.info("stopped", why="asked to")
    return 0


def check_files(settings: Relay) -> None:
    """Look at what only the relay needs.

    Raises:
        SettingsRejected: If it is not told where to hand alerts on to, or cannot read a file.
    """
    if settings.to is None:
        msg = "expected relay.to (DETECTOR_RELAY__TO): alertmanager or webhook, saw none"
        raise SettingsRejected(msg)
    try:
        for file in (settings.password_file, settings.token_file):
            Secret(file=file).read()
        if settings.secret_file:
            keys_of(Secret(file=settings.secret_file).read())
        if settings.cafile:
            Path(settings.cafile).read_bytes()
    except (OSError, ValueError) as error:
        raise SettingsRejected(str(error)) from error


def outlet_of(settings: Relay, clock: SystemClock) -> Outlet:
    """Return the place that the settings name."""
    if settings.to == "webhook":
        return Webhook(Endpoint(settings), Secret(file=settings.secret_file), clock)
    board = Board(
        settings.resend_s, settings.least_firing_s, settings.max_open, settings.forget_after_s
    )
    return Alertmanager(Endpoint(settings, PATH), board, clock)


def subscription_of(settings: Settings) -> Subscription:
    """Return how to read the topics of alerts: as the daemon reads its own, in another group."""
    kafka, ours = settings.kafka, settings.relay
    return Subscription(
        Cluster(kafka.bootstrap_servers, kafka),
        ",".join(alert_topics(settings)),
        ours.group or f"{kafka.group}-relay-{ours.to}",
        max_poll_records=POLL_RECORDS,
        session_timeout_s=kafka.session_timeout_s,
        from_beginning=ours.from_beginning,
        group_instance_id=kafka.group_instance_id,
    )


def _metrics(settings: Settings) -> RelayMetrics:
    """Return the metrics, with those set that never change."""
    metrics = RelayMetrics(settings.relay.to or "")
    metrics.build.labels(version("sensor-anomaly-detector")).set(1)
    metrics.watchdog.set(settings.delivery.watchdog_s)
    return metrics


def _serve(settings: Settings, metrics: RelayMetrics, health: RelayHealth) -> Server:
    http, port = settings.http, settings.relay.port
    try:
        return Server(http.host, port, metrics.registry, health, http)
    except OSError as error:  # an ssl.SSLError is one
        msg = (
            f"expected to listen on {http.host}:{port}, saw: {error}; free the port, set "
            "DETECTOR_RELAY__PORT, or mend DETECTOR_HTTP__CERTFILE and DETECTOR_HTTP__KEYFILE"
        )
        raise SettingsRejected(msg) from error


def _stop_on_signals(loop: Loop) -> None:
    def stop(number: int, _: object) -> None:
        for name in (signal.SIGTERM, signal.SIGINT):
            signal.signal(name, signal.SIG_DFL)  # a second one ends it at once
        log.info("stopping", signal=signal.Signals(number).name)
        loop.stop()

    for name in (signal.SIGTERM, signal.SIGINT):
        signal.signal(name, stop)
