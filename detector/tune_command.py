"""`detector tune`."""

import argparse
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from math import isfinite
from pathlib import Path
from typing import Any

import msgspec

from detector.command_options import add_command, needs_files
from detector.errors import SettingsRejected
from detector.records import Readings
from detector.settings import read_settings
from detector.trusted import load_trusted


def add_tune(commands: Any) -> None:  # noqa: ANN401 - argparse's own type is private
    """Add the command to the command line's."""
    sub = add_command(
        commands,
        "tune",
        _tune,
        "propose the threshold that gives so many alerts a week, from a backtest's scores",
        "example: detector tune --backtest backtest --alerts-per-week 5",
    )
    sub.add_argument("--model", type=Path, help="model file (that of the backtest)")
    sub.add_argument("--backtest", type=Path, required=True, help="folder of `detector backtest`")
    sub.add_argument(
        "--alerts-per-week", type=_positive, required=True, metavar="N",
        help="openings to accept, over the whole fleet",
    )  # fmt: skip
    sub.add_argument(
        "--incidents", type=Path, metavar="CSV", help="known ones, with columns stream, from, to"
    )
    sub.add_argument(
        "--output", type=Path,
        help="folder for tuned.toml, tuned.csv and tuned.html (that of the backtest)",
    )  # fmt: skip


def _tune(options: argparse.Namespace) -> int:
    module, shown = needs_files("detector.tune"), needs_files("detector.tune_report")
    about = _about(options.backtest)
    settings = read_settings(options.config, model=options.model or Path(about.model))
    manifest = load_trusted(settings).manifest
    if manifest.version != about.version:
        msg = (
            f"{settings.model}: expected the model of the backtest, version {about.version[:12]}, "
            f"saw {manifest.version[:12]}; name it with --model, or run the backtest again"
        )
        raise SettingsRejected(msg)

    def scores() -> Iterator[Readings]:
        for file in sorted((options.backtest / "scores").glob("*.parquet")):
            yield from needs_files("detector.kept").kept_scores(file, manifest.kinds)

    incidents = _incidents(options.incidents, about, scores) if options.incidents else []
    asked = options.alerts_per_week
    curve = module.tune(manifest, settings.judge, scores, about.days / 7, asked, incidents)
    rows = shown.rows(curve, manifest.kinds, labelled=bool(incidents))
    _print_table(rows, curve.chosen)
    point = curve.points[curve.chosen or 0]
    seen = f"{point.a_week:,.1f} alerts a week in {about.days:.3g} days of history"
    says = [
        f"detector tune --alerts-per-week {asked:g}: {seen}",
        " ".join(f"{about.past}; model {about.version[:12]}".split()),
    ]
    files = {
        "tuned.toml": module.toml(settings.judge, point.rate, says),
        "tuned.csv": shown.as_csv(curve, manifest.kinds),
        "tuned.html": shown.report(curve, manifest.kinds, asked, about.past, len(incidents)),
    }
    _write(options.output or options.backtest, files)
    if curve.chosen is None:
        print(
            f"expected a setting with at most {asked:g} alerts a week, saw {point.a_week:.3g} "
            "with the strictest, which is proposed: does the model fit (report.html)?",
            file=sys.stderr,
        )
    print(f"judge.false_alarms_per_stream_day = {point.rate:g}: {seen}")
    return 0


def _about(folder: Path) -> Any:  # noqa: ANN401 - `played.About`, which needs the extra
    path = folder / "backtest.json"
    try:
        about = msgspec.json.decode(path.read_bytes(), type=needs_files("detector.played").About)
    except (OSError, msgspec.MsgspecError) as error:
        msg = f"{path}: expected what `detector backtest` wrote, saw: {error}"
        raise SettingsRejected(msg) from error
    if not about.days:
        msg = f"{folder}: expected a backtest of some time, saw none; give it a longer history"
        raise SettingsRejected(msg)
    return about


def _incidents(path: Path, about: Any, scores: Callable[[], Iterable[Readings]]) -> list[Any]:  # noqa: ANN401
    module = needs_files("detector.tune")
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            every = module.read_incidents(file, path.name)
    except (OSError, UnicodeDecodeError) as error:
        msg = f"{path}: expected a CSV file of incidents, saw: {error}"
        raise SettingsRejected(msg) from error
    streams = {stream.decode() for part in scores() for stream in part.streams}
    played = about.played
    known: list[Any] = module.within(every, played.first_us, played.last_us, streams)
    if not known:
        msg = f"{path}: expected incidents of the backtest's streams and time, saw none"
        raise SettingsRejected(msg)
    if len(known) < len(every):
        told = f"{len(every) - len(known)} of {len(every)} incidents are of other streams or times"
        print(told, file=sys.stderr)
    return known


def _print_table(rows: Sequence[Sequence[str]], chosen: int | None) -> None:
    widths = [max(len(row[c]) for row in rows) for c in range(len(rows[0]))]
    for n, row in enumerate(rows):
        cells = "  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True))
        print(f"{cells}{'  <' if chosen is not None and n == chosen + 1 else ''}")


def _write(folder: Path, files: dict[str, str]) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            needs_files("detector.tables").appear(folder / name, text.encode())
    except OSError as error:
        msg = f"{folder}: expected a folder to write to, saw: {error}"
        raise SettingsRejected(msg) from error


def _positive(text: str) -> float:
    number = float(text)
    if not (isfinite(number) and number > 0):
        msg = f"expected a number above 0, saw {text}"
        raise argparse.ArgumentTypeError(msg)
    return number
