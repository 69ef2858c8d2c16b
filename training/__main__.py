"""The command line: fit, evaluate, compare and export models."""

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Self, get_args

import torch
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from detector.errors import Refused, SettingsRejected
from detector.model import load
from detector.signature import sign
from training.benchmark import command as benchmark
from training.compare import compare, kinds_of
from training.config import Config, DataChannel, Kind, read_config
from training.evaluate import evaluate
from training.export import export
from training.figures import measure
from training.perplexity import lines
from training.plots import draw_scores
from training.report.evaluation import report
from training.run import Progress as RunProgress
from training.run import restore, run
from training.train import Losses

EXIT_REFUSED = 2
DRAWN = 12  # streams in one picture of scores


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code: 0 done, 2 refused."""
    options = _parser().parse_args(arguments)
    # A step is too small to share: two threads gain nothing on an idle machine, and on a busy
    # one they wait for each other, 15 times as long.
    torch.set_num_threads(1)
    try:
        code: int = options.command(options)
    except Refused as error:
        print(f"training: {error}", file=sys.stderr)
        return EXIT_REFUSED
    return code


def _fit(options: argparse.Namespace) -> int:
    config = read_config(options.config)
    folder = options.output or Path("runs") / config.name
    with Shown(config.fit.epochs) as shown:
        model = run(options.config, folder, RunProgress(epoch=shown.epoch, say=shown.say))
    for calibration in model.manifest.calibration:
        print(
            f"{calibration.kind}: tail from {calibration.levels[-1]:.3g}, "
            f"shape {calibration.shape:.2g}, scale {calibration.scale:.3g}, "
            f"{1 / calibration.extremal_index:.1f} readings a cluster"
        )
    for line in lines(model.manifest.training):
        print(line)
    print(f"wrote {folder / 'model.onnx'} (version {model.manifest.version[:12]})")
    return 0


def _evaluate(options: argparse.Namespace) -> int:
    config = read_config(options.config)
    if config.evaluate is None:
        msg = f"{options.config}: expected a table [evaluate] with files and a label, saw none"
        raise SettingsRejected(msg)
    folder = options.output or Path("runs") / config.name
    file = options.model or folder / "model.onnx"
    model = load(file)
    tracks = evaluate(model, config, config.evaluate, options.config.parent)
    print("\n".join([*measure(tracks.values()).lines(), *lines(model.manifest.training)]))
    folder.mkdir(parents=True, exist_ok=True)
    first = dict(list(tracks.items())[:DRAWN])
    draw_scores(
        folder / "scores.png",
        {name: (t.ts_us, t.probability.min(1), t.in_alert, t.label) for name, t in first.items()},
    )
    asked = config.evaluate.false_alarms_per_stream_day
    page = report(model.manifest, tracks, asked, file.parent)
    (folder / "report.html").write_text(page, encoding="utf-8")
    print(f"wrote {folder / 'scores.png'} and {folder / 'report.html'}")
    return 0


def _compare(options: argparse.Namespace) -> int:
    kinds = kinds_of(options.models)
    name = read_config(options.data).name
    folder = options.output or Path("runs") / f"{name}-compared"
    folder.mkdir(parents=True, exist_ok=True)
    comparison = compare(options.data, kinds, folder, options.seeds, print, options.jobs)
    Console().print(comparison.table())
    print("\n".join(f"{name} was refused: {why}" for name, why in comparison.refused.items()))
    print(comparison.choose()[1])
    comparison.write(folder)
    print(f"wrote {folder / 'comparison.csv'}, .json and .png")
    return 0


def _export(options: argparse.Namespace) -> int:
    model, about, sample = restore(options.run)
    output = options.output or options.run / "model.onnx"
    exported = export(model, about, sample, output)
    print(f"wrote {output} (version {exported.manifest.version[:12]})")
    return 0


def _sign(options: argparse.Namespace) -> int:
    load(options.model)  # what is signed is a model, and works
    print(f"wrote {sign(options.model, options.key)}")
    return 0


class Shown:
    """A bar on a terminal, lines in a log."""

    def __init__(self, epochs: int) -> None:
        """Prepare for so many passes at most."""
        self._console = Console()
        self._bar = Progress(
            TextColumn("training"),
            BarColumn(),
            TextColumn("{task.completed}/{task.total} passes  {task.description}"),
            TimeElapsedColumn(),
            console=self._console,
            disable=not self._console.is_terminal,
        )
        self._epochs = epochs
        self._task = self._bar.add_task("", total=epochs, visible=False)

    def say(self, line: str) -> None:
        """Print a line above the bar."""
        self._bar.update(self._task, visible=False)
        self._bar.print(line) if self._console.is_terminal else print(line, flush=True)

    def epoch(self, losses: Losses) -> None:
        """Move the bar by a pass, or print it."""
        text = f"loss {losses.train:.4f}, held-out {losses.valid:.4f}"
        self._bar.update(self._task, completed=losses.epoch + 1, description=text, visible=True)
        if not self._console.is_terminal:
            print(f"pass {losses.epoch + 1}/{self._epochs}: {text}", flush=True)

    def __enter__(self) -> Self:
        """Show the bar."""
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Leave it as it is."""
        self._bar.stop()


def _entries() -> str:
    """Return all entries of a configuration, with defaults and descriptions."""
    lines = ["entries of CONFIG.toml:", "  name (required): Of the model; alerts carry it."]
    for table, info in Config.model_fields.items():
        fields: dict[str, Any] = getattr(_table_of(info.annotation), "model_fields", {})
        lines += [f"  [{table}]"] if fields else []
        for name, field in fields.items():
            default = "required" if field.is_required() else field.default
            lines.append(f"    {name} ({default}): {field.description}")
            if name == "channels":
                inner = DataChannel.model_fields.items()
                lines += [f"      {key}: {entry.description}" for key, entry in inner]
    return "\n".join(lines)


def _table_of(annotation: Any) -> Any:  # noqa: ANN401 - annotations have no type
    options = getattr(annotation, "__args__", (annotation,))
    return options[0]


def _count(text: str) -> int:
    number = int(text)
    if number < 1:
        msg = f"expected at least 1, saw {number}"
        raise argparse.ArgumentTypeError(msg)
    return number


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="training", description="Trains, measures and exports models for the detector."
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def add(name: str, command: Callable[[argparse.Namespace], int], text: str) -> Any:  # noqa: ANN401
        sub = commands.add_parser(
            name,
            help=text,
            description=text.capitalize() + ".",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        sub.set_defaults(command=command)
        return sub

    sub = add("fit", _fit, "train on history, calibrate, and export one model file")
    sub.epilog = _entries()
    sub.add_argument("config", type=Path, metavar="CONFIG.toml")
    sub.add_argument("--output", type=Path, help="run folder (runs/NAME)")
    sub = add("evaluate", _evaluate, "measure a model on labelled data, as the daemon would run it")
    sub.add_argument("config", type=Path, metavar="CONFIG.toml")
    sub.add_argument("--model", type=Path, help="model file (runs/NAME/model.onnx)")
    sub.add_argument("--output", type=Path, help="folder for report and pictures (runs/NAME)")
    sub = add("compare", _compare, "train several networks, measure them, and say which to choose")
    networks = ",".join(get_args(Kind))
    sub.add_argument("--data", type=Path, required=True, metavar="CONFIG.toml")
    sub.add_argument("--models", default=networks, help=f"kinds of network ({networks})")
    sub.add_argument("--seeds", type=_count, default=3, help="how often each is trained (3)")
    sub.add_argument("--jobs", type=_count, default=1, help="processes (1)")
    sub.add_argument("--output", type=Path, help="folder for all runs (runs/NAME-compared)")
    sub = add("benchmark", benchmark.run, "play a public benchmark, as the daemon would run it")
    benchmark.add_options(sub)
    sub = add("export", _export, "make the model file of a run again")
    sub.add_argument("run", type=Path, metavar="RUN", help="run folder, as `fit` left it")
    sub.add_argument("--output", type=Path, help="file (RUN/model.onnx)")
    sub = add("sign", _sign, "sign a model file; its signature is written beside it")
    sub.add_argument("model", type=Path, metavar="MODEL.onnx")
    sub.add_argument("--key", type=Path, required=True, help="PEM: Ed25519 private key")
    return parser


if __name__ == "__main__":
    sys.exit(main())
