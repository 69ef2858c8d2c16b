"""`detector backtest`."""

import argparse
import os
import sys
from pathlib import Path
from typing import Any, get_args

from detector.artifact import Manifest
from detector.command_options import (
    add_command,
    add_span,
    cluster_of,
    column,
    count,
    needs_files,
    span_of,
)
from detector.equip import rules_of, silence_of, telling_of
from detector.errors import SettingsRejected
from detector.history import Span, stretches
from detector.mapping import limits_of
from detector.records import Severity
from detector.routed import settings_for
from detector.settings import Settings, read_settings
from detector.trusted import load_trusted


def add_backtest(commands: Any) -> None:  # noqa: ANN401 - argparse's own type is private
    """Add the command to the command line's."""
    sub = add_command(
        commands,
        "backtest",
        _backtest,
        "play history through the daemon's stages, and tell what it would have told",
        "example: detector backtest --topic readings --from 2026-01-01 --output backtest",
    )
    sub.add_argument("--model", type=Path, help="model file; instead of DETECTOR_MODEL")
    sub.add_argument("--route", default="", help="whose streams and model; of all others without")
    past = sub.add_mutually_exclusive_group(required=True)
    past.add_argument("--topic", help="that carries the readings")
    past.add_argument(
        "--input", type=Path, nargs="+", help="files, or folders of them, as for `detector score`"
    )
    add_span(sub)
    sub.add_argument(
        "--column", type=column, action="append", default=[], metavar="NAME=COLUMN",
        help="a file's column for ts, stream or a channel, where it has another name",
    )  # fmt: skip
    sub.add_argument(
        "--processes", type=count, default=os.cpu_count() or 1,
        help="at once, each with some partitions, or streams of files (%(default)s)",
    )  # fmt: skip
    sub.add_argument(
        "--output", type=Path, required=True,
        help="folder for alerts.jsonl, volume.csv, report.html and the scores",
    )  # fmt: skip


def _backtest(options: argparse.Namespace) -> int:
    module = needs_files("detector.backtest")
    whole, span = read_settings(options.config, model=options.model), span_of(options)
    settings = settings_for(whole, options.route)
    manifest = load_trusted(settings).manifest
    pasts, total, unit, told = _pasts(options, settings, span, manifest)
    module.prepare(options.output)
    rules = rules_of(manifest, settings.judge)
    # A share of files' streams has no partition's time to be silent in, nor its limits.
    silence = silence_of(settings) if options.topic else None
    limits = telling_of(settings.judge, options.route) if options.topic else None
    jobs = [
        module.Job(n, past, span, settings, rules, silence, limits, options.output)
        for n, past in enumerate(pasts)
    ]
    with needs_files("detector.progress").Shown("playing", total, unit) as shown:
        said = module.play_all(jobs, options.processes, shown.to)
    try:
        volume = module.tell(options.output, jobs)
        alerts = dict.fromkeys(get_args(Severity), 0)
        for (_, _, severity), number in volume.items():
            alerts[severity] += number
        about = needs_files("detector.played").About(
            str(settings.model), manifest.name, manifest.version, told,
            settings.judge.model_dump(), said, alerts,
        )  # fmt: skip
        page = needs_files("detector.backtest_report").report(about, volume, manifest.calibration)
        module.finish(options.output, about, page)
    except OSError as error:
        msg = f"{options.output}: expected to write there, saw: {error}"
        raise SettingsRejected(msg) from error
    print(
        f"{options.output}: {said.scored} readings of {said.streams} streams scored, {said.late} "
        f"late, {sum(said.bad.values())} bad records; {sum(alerts.values())} alerts, "
        f"{alerts['critical']} of them critical",
        file=sys.stderr,
    )
    return 0


def _pasts(
    options: argparse.Namespace, settings: Settings, span: Span, manifest: Manifest
) -> tuple[list[Any], int, str, str]:
    """Return the parts to play, how many records or rows there are, and of what, in words."""
    past, given = needs_files("detector.past"), settings.input
    if options.topic:
        cluster = cluster_of(settings)
        parts = stretches(cluster, options.topic, span, limits_of(given)["max_future_us"])
        told = f"Topic {options.topic}, {len(parts)} partitions"
        pasts = [past.TopicPast(cluster, part, settings, options.route) for part in parts]
        return pasts, sum(map(len, parts)), "records", told
    if span.by_record:
        msg = "expected --consumer-timestamps with --topic: rows of files have no other time"
        raise SettingsRejected(msg)
    columns = needs_files("detector.replay").columns_of(manifest, dict(options.column))
    files = past.files_at(options.input)
    name = options.input[0].stem
    parts = [
        past.FilesPast(name, files, columns, given, (n, options.processes))
        for n in range(options.processes)
    ]
    return parts, past.rows_in(files), "rows", ", ".join(map(str, options.input))
