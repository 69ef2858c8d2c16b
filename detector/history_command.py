"""`detector record`, `backtest` and `tune`: what can be learnt from history.

They read settings as `detector run` does, join no group, commit nothing and write no topic.
"""

import argparse
import logging
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from typing import Any

from detector.cluster import Cluster
from detector.daemon import EXIT_FAILED, limits_of
from detector.errors import ConnectionLost, SettingsRejected
from detector.history import Span, stretches
from detector.records import US_PER_S
from detector.settings import Settings, read_settings
from detector.validate import Format

NOT_A_CHANNEL = {"stream", "ts"}


def add_commands(commands: Any) -> None:  # noqa: ANN401 - argparse's own type is private
    """Add them to the command line's."""
    _add_record(commands)


def _add_record(commands: Any) -> None:  # noqa: ANN401
    sub = _add(
        commands,
        "record",
        _record,
        "write a topic's history to Parquet files, for `training fit` and `detector score`",
        "example: detector record --topic readings --from 2026-01-01 --output history",
    )
    sub.add_argument("--topic", required=True, help="that carries the readings")
    _add_span(sub)
    sub.add_argument(
        "--output", type=Path, required=True, help="folder; a second run goes on there"
    )
    sub.add_argument(
        "--channels", type=_names, help="comma separated (those that the first records name)"
    )
    sub.add_argument(
        "--rows", type=_count, default=1_000_000, help="readings a file, about (%(default)s)"
    )


def _record(options: argparse.Namespace) -> int:
    module = _needs_files("detector.record")
    progress = _needs_files("detector.progress")
    settings = _settings(options, model=Path())  # no model is needed yet
    servers, limits = _cluster(settings), limits_of(settings)
    span = _span(options)
    parts = stretches(servers, options.topic, span, limits["max_future_us"])
    before = module.recorded_before(options.output)
    channels = options.channels or (before and before.channels)
    channels = tuple(channels or module.find_channels(servers, parts))
    if NOT_A_CHANNEL & set(channels):
        msg = f"expected channels that are not called stream or ts, saw {', '.join(channels)}"
        raise SettingsRejected(msg)
    order = module.Order(options.topic, channels, span.since_us, span.until_us, span.by_record)
    module.begin(options.output, order)
    form = Format(channels, (), **limits)
    print(f"channels: {', '.join(channels)}", file=sys.stderr)
    with progress.Shown("recording", sum(map(len, parts)), "records") as shown:
        said = module.record(servers, parts, order, form, options.output, shown.by, options.rows)
    if said.resumed:
        print(f"went on after {said.resumed} records of earlier runs", file=sys.stderr)
    bad = ", ".join(f"{count} {reason}" for reason, count in sorted(said.bad.items()))
    print(
        f"{options.output}: {said.readings} readings of {said.records} records in {said.files} "
        f"new files; {said.outside} outside the time asked for, {said.bad.total()} bad records"
        f"{f' ({bad})' if bad else ''}, {said.unknown_values} values of other channels",
        file=sys.stderr,
    )
    return 0


# What they share ------------------------------------------------------------------------------


def _add(
    commands: Any,  # noqa: ANN401
    name: str,
    command: Callable[[argparse.Namespace], int],
    text: str,
    example: str,
) -> argparse.ArgumentParser:
    def guarded(options: argparse.Namespace) -> int:
        logging.getLogger("kafka").setLevel(logging.CRITICAL)
        try:
            return command(options)
        except ConnectionLost as error:
            print(f"detector: {error}", file=sys.stderr)
        except KeyboardInterrupt:
            print(f"detector {name}: interrupted; what is whole is kept", file=sys.stderr)
        return EXIT_FAILED

    sub: argparse.ArgumentParser = commands.add_parser(
        name,
        help=text,
        description=f"{text.capitalize()}. Settings as for `detector run`; it joins no group, "
        "commits nothing and writes to no topic.",
        epilog=example,
    )
    sub.add_argument("--config", type=Path, help="TOML file with settings")
    sub.set_defaults(command=guarded)
    return sub


def _add_span(sub: argparse.ArgumentParser) -> None:
    sub.add_argument(
        "--from", dest="since", type=_time, metavar="TIME",
        help="first time: RFC 3339 or a date, UTC where it does not say (all that is kept)",
    )  # fmt: skip
    sub.add_argument(
        "--to", dest="until", type=_time, metavar="TIME",
        help="end, not included (where the topic ends now)",
    )  # fmt: skip
    sub.add_argument(
        "--consumer-timestamps",
        action="store_true",
        help="times are those of the records, not of the readings: where the end is old, less "
        "is read",
    )


def _span(options: argparse.Namespace) -> Span:
    if None not in (options.since, options.until) and options.since >= options.until:
        msg = "expected --from before --to"
        raise SettingsRejected(msg)
    return Span(options.since, options.until, options.consumer_timestamps)


def _settings(options: argparse.Namespace, model: Path | None) -> Settings:
    return read_settings(options.config, model=model)


def _cluster(settings: Settings) -> Cluster:
    return Cluster(settings.kafka.bootstrap_servers, settings.kafka)


def _needs_files(module: str) -> Any:  # noqa: ANN401 - a module
    """Import what needs the `files` extra: the daemon runs without it.

    Raises:
        SettingsRejected: If the extra is not installed.
    """
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        msg = f"expected {error.name}, saw none; pip install 'sensor-anomaly-detector[files]'"
        raise SettingsRejected(msg) from error


def _time(text: str) -> int:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        msg = f"expected a date or RFC 3339, saw {text!r}"
        raise argparse.ArgumentTypeError(msg) from error
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return round(moment.timestamp() * US_PER_S)


def _names(text: str) -> tuple[str, ...]:
    return tuple(filter(None, (name.strip() for name in text.split(","))))


def _count(text: str) -> int:
    count = int(text)
    if count < 1:
        msg = f"expected a number from 1 on, saw {text}"
        raise argparse.ArgumentTypeError(msg)
    return count
