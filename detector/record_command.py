"""`detector record`."""

import argparse
import sys
from pathlib import Path
from typing import Any

from detector.command_options import (
    add_command,
    add_span,
    cluster_of,
    count,
    names,
    needs_files,
    span_of,
)
from detector.errors import SettingsRejected
from detector.history import Origin, stretches
from detector.mapping import headers_of, layout_of, limits_of
from detector.routed import input_for
from detector.schemas import schemas_of
from detector.settings import read_settings
from detector.validate import Format
from detector.wire import from_json

NOT_A_CHANNEL = {"stream", "ts"}


def add_record(commands: Any) -> None:  # noqa: ANN401 - argparse's own type is private
    """Add the command to the command line's."""
    sub = add_command(
        commands,
        "record",
        _record,
        "write a topic's history to Parquet files, for `training fit` and `detector score`",
        "example: detector record --topic readings --from 2026-01-01 --output history",
    )
    sub.add_argument("--topic", required=True, help="that carries the readings")
    sub.add_argument("--route", default="", help="by whose `input` they are read")
    add_span(sub)
    sub.add_argument(
        "--output", type=Path, required=True, help="folder; a second run goes on there"
    )
    sub.add_argument(
        "--channels", type=names, help="comma separated (those that the first records name)"
    )
    sub.add_argument(
        "--rows", type=count, default=1_000_000, help="readings a file, about (%(default)s)"
    )


def _record(options: argparse.Namespace) -> int:
    module = needs_files("detector.record")
    progress = needs_files("detector.progress")
    settings = read_settings(options.config, model=Path())  # no model is needed yet
    given = input_for(settings, options.route)
    limits, span = limits_of(given), span_of(options)
    schemas = schemas_of(given)
    origin = Origin(cluster_of(settings), headers_of(given), schemas)
    parts = stretches(origin.cluster, options.topic, span, limits["max_future_us"])
    before = module.recorded_before(options.output)
    named = options.channels or (before and before.channels) or tuple(given.channels)
    channels = named or module.find_channels(origin, parts)
    if NOT_A_CHANNEL & set(channels):
        msg = f"expected channels that are not called stream or ts, saw {', '.join(channels)}"
        raise SettingsRejected(msg)
    order = module.Order(options.topic, channels, span.since_us, span.until_us, span.by_record)
    module.begin(options.output, order)
    layout = layout_of(given, channels, schemas.unpack if schemas else from_json)
    form = Format(channels, (), layout=layout, **limits)
    print(f"channels: {', '.join(channels)}", file=sys.stderr)
    with progress.Shown("recording", sum(map(len, parts)), "records") as shown:
        said = module.record(origin, parts, order, form, options.output, shown.by, options.rows)
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
