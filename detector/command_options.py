"""What the commands about history share: options, and how they end.

They read settings as `detector run` does, join no group, commit nothing and write no topic.
"""

import argparse
import logging
import sys
from collections.abc import Callable
from datetime import datetime
from importlib import import_module
from pathlib import Path
from typing import Any

from detector.cluster import Cluster
from detector.daemon import EXIT_FAILED
from detector.errors import ConnectionLost, SettingsRejected
from detector.history import Span
from detector.settings import Settings
from detector.validate import epoch_us


def add_command(
    commands: Any,  # noqa: ANN401
    name: str,
    command: Callable[[argparse.Namespace], int],
    text: str,
    example: str,
) -> argparse.ArgumentParser:
    """Add a command; what it raises of a broker, and Ctrl-C, end it with exit code 1."""

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


def add_span(sub: argparse.ArgumentParser) -> None:
    """Add the options that say which stretch of time is meant."""
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


def span_of(options: argparse.Namespace) -> Span:
    """Return the stretch of time that is meant.

    Raises:
        SettingsRejected: If it ends before it begins.
    """
    if None not in (options.since, options.until) and options.since >= options.until:
        msg = "expected --from before --to"
        raise SettingsRejected(msg)
    return Span(options.since, options.until, options.consumer_timestamps)


def cluster_of(settings: Settings) -> Cluster:
    """Return the cluster that the settings name."""
    return Cluster(settings.kafka.bootstrap_servers, settings.kafka)


def needs_files(module: str) -> Any:  # noqa: ANN401 - a module
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
        return int(epoch_us([datetime.fromisoformat(text)])[0])
    except ValueError as error:
        msg = f"expected a date or RFC 3339, saw {text!r}"
        raise argparse.ArgumentTypeError(msg) from error


def names(text: str) -> tuple[str, ...]:
    """Take A,B,C apart."""
    return tuple(filter(None, (name.strip() for name in text.split(","))))


def count(text: str) -> int:
    """Return a number from 1 on."""
    number = int(text)
    if number < 1:
        msg = f"expected a number from 1 on, saw {text}"
        raise argparse.ArgumentTypeError(msg)
    return number


def column(text: str) -> tuple[str, str]:
    """Take NAME=COLUMN apart."""
    name, equals, column = text.partition("=")
    if not equals:
        msg = f"expected NAME=COLUMN, saw {text!r}"
        raise argparse.ArgumentTypeError(msg)
    return name, column
