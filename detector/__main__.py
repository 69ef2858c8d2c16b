"""The command line: settings in, exit codes out."""

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from pydantic import ValidationError

from detector.backtest_command import add_backtest
from detector.check import check
from detector.command_options import column, count
from detector.daemon import EXIT_FAILED, run
from detector.engine import Engine
from detector.equip import rules_of
from detector.errors import ConnectionLost, Refused, SettingsRejected
from detector.logs import set_up_logs
from detector.memory import memory, resident_bytes
from detector.model import load
from detector.override_options import add_override_commands
from detector.promote_command import add_promote
from detector.record_command import add_record
from detector.relay.command import relay
from detector.settings import describe, read_settings
from detector.sniff_command import sniff
from detector.state_command import export, ls, show
from detector.telling import MOST_BEFORE, Judge
from detector.tune_command import add_tune

EXIT_REFUSED = 2


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
    return run(settings, lambda: read_settings(options.config, model=options.model))


def _relay(options: argparse.Namespace) -> int:
    settings = read_settings(options.config, model=Path("none"))  # it runs none
    set_up_logs(settings.log.level, settings.log.format)
    return relay(settings)


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
    engine = Engine(model, rules_of(model.manifest, judge))
    summary = score_file(engine, options.input, options.output, dict(options.column), _tell_rows)
    bad = ", ".join(f"{count} {reason}" for reason, count in summary.bad.items())
    print(
        f"{options.output}: {summary.rows} rows of {summary.streams} streams; "
        f"{summary.scored} scored, {summary.late} late, {sum(summary.bad.values())} bad"
        f"{f' ({bad})' if bad else ''}; {summary.opened} alerts",
        file=sys.stderr,
    )
    return 0


def _memory(options: argparse.Namespace) -> int:
    manifest = load(options.model).manifest
    need = memory(
        manifest,
        options.streams,
        options.partitions,
        options.id_bytes,
        options.readings_before,
        long=options.long,
    )
    process = resident_bytes()
    tags = ("tags", need.tags, "what waits to be joined in the long layout")
    lines = (
        ("state", need.state, f"{need.row} bytes a stream, and room to grow"),
        (
            "  before",
            need.ring * options.streams,
            f"of it: the last readings, {need.ring} bytes a stream",
        ),
        *([tags] if options.long else []),
        ("table", need.table, f"stream ids of {options.id_bytes} bytes, and their rows"),
        ("process", process, "the program and its model, measured now"),
        ("total", process + need.held, f"{options.streams} streams on this replica"),
        ("checkpoint", need.checkpoint, "more, at the most, while a partition's state is written"),
    )
    for what, size, why in lines:
        print(f"{what:<10} {size / 1e6:10.1f} MB  {why}")
    return 0


def _state(options: argparse.Namespace) -> int:
    settings = read_settings(options.config)
    logging.getLogger("kafka").setLevel(logging.CRITICAL)
    try:
        if options.action == "show":
            return show(settings, options.stream)
        return export(settings) if options.action == "export" else ls(settings)
    except ConnectionLost as error:
        print(f"detector: {error}", file=sys.stderr)
        return EXIT_FAILED
    except BrokenPipeError:  # `detector state ls | head`
        sys.stderr.close()
        return 0


def _sniff(options: argparse.Namespace) -> int:
    settings = read_settings(options.config, model=options.model)
    if options.topic:
        kafka = settings.kafka.model_copy(update={"topic": options.topic})
        settings = settings.model_copy(update={"kafka": kafka})
    logging.getLogger("kafka").setLevel(logging.CRITICAL)
    try:
        return sniff(settings, options.records, options.seconds)
    except ConnectionLost as error:
        print(f"detector: {error}", file=sys.stderr)
        return EXIT_FAILED


def _tell_rows(rows: int) -> None:
    if sys.stderr.isatty():
        print(f"\r{rows} rows", end="\r", file=sys.stderr)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="detector",
        description="Hears in Kafka when a machine behaves unlike itself, and says so.",
        epilog="exit codes: 0 done; 1 failed, not all was kept; 2 refused: a setting, the model "
        "or a file is wrong; 3 stopped because too much of the input is bad; 70 ended by its "
        "watchdog",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    settings = "settings, from the environment or the TOML file:\n" + "\n".join(
        f"  {name} ({default})\n      {text}" for name, default, text in describe()
    )
    for name, command, text in (
        ("run", _run, "read streams from Kafka, score them and raise alerts, until stopped"),
        ("check", _check, "validate settings, model and broker, and say what is wrong"),
        ("relay", _relay, "hand alerts on to Alertmanager or a webhook, until stopped"),
    ):
        sub = commands.add_parser(
            name,
            help=text,
            description=text.capitalize() + ".",
            epilog=settings,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        sub.add_argument("--config", type=Path, help="TOML file with settings")
        if command is not _relay:
            sub.add_argument("--model", type=Path, help="model file; instead of DETECTOR_MODEL")
        sub.set_defaults(command=command)
    add_promote(commands)
    _add_score(commands)
    add_record(commands)
    add_backtest(commands)
    add_tune(commands)
    _add_memory(commands)
    _add_state(commands)
    add_override_commands(commands)
    _add_sniff(commands)
    return parser


def _add_memory(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    sub = commands.add_parser(
        "memory",
        help="say how much memory so many streams take",
        description="Say how much memory so many streams take on one replica.",
        epilog="example: detector memory --model model.onnx --streams 100000 --partitions 4",
    )
    sub.add_argument("--model", type=Path, required=True, help="the ONNX file")
    sub.add_argument("--streams", type=count, required=True, metavar="N", help="on one replica")
    sub.add_argument("--partitions", type=count, default=1, metavar="P", help="that it holds (1)")
    sub.add_argument("--id-bytes", type=count, default=24, metavar="B", help="of an id (24)")
    sub.add_argument("--long", action="store_true", help="records are values of one tag each")
    before = Judge().readings_before
    sub.add_argument(
        "--readings-before",
        type=int,
        choices=range(MOST_BEFORE + 1),
        default=before,
        metavar="N",
        help=f"that an opening shows of the time before it ({before})",
    )
    sub.set_defaults(command=_memory)


def _add_state(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    sub = commands.add_parser(
        "state",
        help="show what streams carry now",
        description="Show what streams carry, as the changelog has it: last heard, readings "
        "since the start, what the judge remembers, and the model's own state. Settings as for "
        "`detector run`.",
    )
    actions = sub.add_subparsers(dest="action", required=True, metavar="ACTION")
    for name, text in (
        ("ls", "a line a stream"),
        ("show", "all that one stream carries, as JSON"),
        ("export", "all of all streams, a JSON line each"),
    ):
        action = actions.add_parser(name, help=text, description=text.capitalize() + ".")
        action.add_argument("--config", type=Path, help="TOML file with settings")
        if name == "show":
            action.add_argument("stream", help="its id")
        action.set_defaults(command=_state)


def _add_sniff(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    sub = commands.add_parser(
        "sniff",
        help="look at a topic, and propose the settings that read it",
        description="Look at the last records of a topic, say what was understood, and propose "
        "the settings that read it, as TOML. It joins no group and commits nothing.",
        epilog="example: detector sniff --topic telegraf --model model.onnx > detector.toml",
    )
    sub.add_argument("--topic", help="instead of DETECTOR_KAFKA__TOPIC")
    sub.add_argument("--config", type=Path, help="TOML file with settings")
    sub.add_argument("--model", type=Path, help="model file; instead of DETECTOR_MODEL")
    sub.add_argument("--records", type=_count, default=500, metavar="N", help="at most (500)")
    sub.add_argument("--seconds", type=_count, default=10, metavar="S", help="to wait (10)")
    sub.set_defaults(command=_sniff)


def _count(text: str) -> int:
    count = int(text)
    if count < 1:
        msg = f"expected a number from 1 on, saw {text}"
        raise argparse.ArgumentTypeError(msg)
    return count


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
        type=column,
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
