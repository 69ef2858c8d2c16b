"""The command line: settings, wiring, signals, exit codes."""

import argparse
import logging
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

import structlog
from pydantic import ValidationError

from detector.artifact import Manifest
from detector.check import check
from detector.clock import SystemClock
from detector.emit import KafkaSink, LineSink, Sink
from detector.engine import Engine
from detector.errors import (
    ConnectionLost,
    DeadLetterLimit,
    OutputRefused,
    Refused,
    SettingsRejected,
)
from detector.expose import Health, Server, notifier
from detector.judge import Rules, rules
from detector.limit import DeadLetters
from detector.logs import set_up_logs
from detector.metrics import Metrics
from detector.model import load
from detector.pipeline import Pipeline, Topics
from detector.records import US_PER_S
from detector.settings import Judge, Settings, describe, notify_socket, read_settings
from detector.source import KafkaSource, Subscription
from detector.validate import Format, format_of

EXIT_FAILED = 1
EXIT_REFUSED = 2
EXIT_BAD_INPUT = 3

log = structlog.get_logger()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code: 0, or as `--help` says."""
    options = _parser().parse_args(arguments)
    try:
        code: int = options.command(options)
    except Refused as error:
        print(f"detector: {error}", file=sys.stderr)
        return EXIT_REFUSED
    return code


def _run(options: argparse.Namespace) -> int:
    settings = read_settings(options.config, model=options.model)
    set_up_logs(settings.log.level, settings.log.format)
    model = load(settings.model, settings.model_threads)
    manifest, clock, metrics = model.manifest, SystemClock(), Metrics()
    metrics.model.labels(manifest.name, manifest.version[:12]).set(1)
    health = Health(clock, settings.http.stall_s, notifier(notify_socket()))
    health.beat()
    server = _serve(settings, metrics, health)
    source = KafkaSource(_subscription(settings), clock)
    sink = _sink(settings)
    pipeline = Pipeline(
        source=source,
        engine=Engine(model, _rules(manifest, settings.judge)),
        sink=sink,
        form=_format(manifest, settings),
        topics=_topics(settings),
        limit=DeadLetters(settings.dead_letter_limit.consecutive, settings.dead_letter_limit.share),
        metrics=metrics,
        health=health,
        clock=clock,
        commit_interval_s=settings.delivery.commit_interval_s,
        shutdown_timeout_s=settings.delivery.shutdown_timeout_s,
    )
    _stop_on_signals(pipeline)
    log.info(
        "started",
        model=manifest.name,
        version=manifest.version[:12],
        topic=settings.kafka.topic,
        group=settings.kafka.group,
        metrics=f"http://{settings.http.host}:{server.port}/metrics",
    )
    try:
        pipeline.run()
    except DeadLetterLimit as error:
        log.error("stopped: too much bad input", why=str(error))  # noqa: TRY400 - no bug, no trace
        return EXIT_BAD_INPUT
    except OutputRefused as error:
        log.error("stopped: a message is refused", why=str(error))  # noqa: TRY400
        return EXIT_FAILED
    except ConnectionLost as error:
        log.error("stopped, but not all was kept; it is read again", why=str(error))  # noqa: TRY400
        return EXIT_FAILED
    finally:
        health.notify("STOPPING=1")
        source.close()
        sink.close()
        server.close()
    log.info("stopped", why="asked to")
    return 0


def _stop_on_signals(pipeline: Pipeline) -> None:
    def stop(number: int, _: object) -> None:
        for name in (signal.SIGTERM, signal.SIGINT):
            signal.signal(name, signal.SIG_DFL)  # a second one ends it at once
        log.info("stopping", signal=signal.Signals(number).name)
        pipeline.stop()

    for name in (signal.SIGTERM, signal.SIGINT):
        signal.signal(name, stop)


def _serve(settings: Settings, metrics: Metrics, health: Health) -> Server:
    http = settings.http
    try:
        return Server(http.host, http.port, metrics.registry, health)
    except OSError as error:
        msg = (
            f"expected to listen on {http.host}:{http.port}, saw: {error.strerror}; free the "
            "port or set DETECTOR_HTTP__PORT"
        )
        raise SettingsRejected(msg) from error


def _subscription(settings: Settings) -> Subscription:
    return Subscription(**settings.kafka.model_dump())


def _topics(settings: Settings) -> Topics:
    output = settings.output
    return Topics(output.alerts_topic, output.dead_letters_topic, output.scores_topic)


def _sink(settings: Settings) -> Sink:
    if settings.output.to == "stdout":
        return LineSink(sys.stdout)
    topics = _topics(settings)
    names = [topics.alerts, topics.dead_letters, *filter(None, [topics.scores])]
    return KafkaSink(settings.kafka.bootstrap_servers, names)


def _format(manifest: Manifest, settings: Settings) -> Format:
    limits = settings.input
    return format_of(
        manifest,
        max_value_bytes=limits.max_value_bytes,
        max_stream_bytes=limits.max_stream_bytes,
        max_future_us=int(limits.max_future_s * US_PER_S),
    )


def _rules(manifest: Manifest, settings: Judge) -> Rules:
    return rules(
        manifest,
        settings.false_alarms_per_stream_day,
        open_after=settings.open_after,
        close_after=settings.close_after,
        cool_down_s=settings.cool_down_s,
    )


def _check(options: argparse.Namespace) -> int:
    settings = read_settings(options.config, model=options.model)
    logging.getLogger("kafka").setLevel(logging.CRITICAL)  # the findings say it
    good = True
    for finding in check(settings):
        good &= finding.good
        print(f"{'ok  ' if finding.good else 'FAIL'} {finding.what:<9} {finding.seen}")
    return 0 if good else EXIT_REFUSED


def _score(options: argparse.Namespace) -> int:
    try:  # pyarrow is an extra: the daemon runs without it
        from detector.replay import score_file  # noqa: PLC0415
    except ModuleNotFoundError as error:
        msg = f"expected {error.name}, saw none; pip install 'sensor-anomaly-detector[files]'"
        raise SettingsRejected(msg) from error
    model = load(options.model)
    try:
        judge = Judge(false_alarms_per_stream_day=options.false_alarms)
    except ValidationError as error:
        msg = f"--false-alarms {options.false_alarms:g}: {error.errors()[0]['msg']}"
        raise SettingsRejected(msg) from error
    engine = Engine(model, _rules(model.manifest, judge))
    summary = score_file(engine, options.input, options.output, dict(options.column), _tell_rows)
    bad = ", ".join(f"{count} {reason}" for reason, count in summary.bad.items())
    print(
        f"{options.output}: {summary.rows} rows of {summary.streams} streams; "
        f"{summary.scored} scored, {summary.late} late, {sum(summary.bad.values())} bad"
        f"{f' ({bad})' if bad else ''}; {summary.opened} alerts",
        file=sys.stderr,
    )
    return 0


def _tell_rows(rows: int) -> None:
    if sys.stderr.isatty():
        print(f"\r{rows} rows", end="\r", file=sys.stderr)


def _column(text: str) -> tuple[str, str]:
    name, equals, column = text.partition("=")
    if not equals:
        msg = f"expected NAME=COLUMN, saw {text!r}"
        raise argparse.ArgumentTypeError(msg)
    return name, column


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="detector",
        description="Hears in Kafka when a machine behaves unlike itself, and says so.",
        epilog="exit codes: 0 done; 1 failed, not all was kept; 2 refused: a setting, the model "
        "or a file is wrong; 3 stopped because too much of the input is bad",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    settings = "settings, from the environment or the TOML file:\n" + "\n".join(
        f"  {name} ({default})\n      {text}" for name, default, text in describe()
    )
    for name, command, text in (
        ("run", _run, "read streams from Kafka, score them and raise alerts, until stopped"),
        ("check", _check, "validate settings, model and broker, and say what is wrong"),
    ):
        sub = commands.add_parser(
            name,
            help=text,
            description=text.capitalize() + ".",
            epilog=settings,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        sub.add_argument("--config", type=Path, help="TOML file with settings")
        sub.add_argument("--model", type=Path, help="model file; instead of DETECTOR_MODEL")
        sub.set_defaults(command=command)
    _add_score(commands)
    return parser


def _add_score(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    sub = commands.add_parser(
        "score",
        help="score a file with the daemon's own stages",
        description="Score a CSV, Parquet or JSON-lines file with the daemon's own stages: one "
        "row out for each row in, in the same order.",
        epilog="example: detector score --model model.onnx --input pump.csv --output scored.csv "
        "--column ts=datetime --column stream=",
    )
    sub.add_argument("--model", type=Path, required=True, help="the ONNX file")
    sub.add_argument("--input", type=Path, required=True, help=".csv, .parquet or .jsonl")
    sub.add_argument("--output", type=Path, required=True, help=".csv, .parquet or .jsonl")
    sub.add_argument(
        "--column",
        type=_column,
        action="append",
        default=[],
        metavar="NAME=COLUMN",
        help="the file's column for ts, stream or a channel, where it has another name; "
        "'stream=' where the file is one stream",
    )
    sub.add_argument(
        "--false-alarms",
        type=float,
        default=Judge().false_alarms_per_stream_day,
        metavar="RATE",
        help="openings a stream and day to accept on normal data (%(default)s)",
    )
    sub.set_defaults(command=_score)


if __name__ == "__main__":
    sys.exit(main())
