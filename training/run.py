"""One training run, read top to bottom: history, network, calibration, file; and its folder.

A run folder holds all that is needed to look at a run, or to make its model file again:
config.toml, losses.csv, losses.png, calibration.png, weights.npz, about.json and model.onnx.
"""

import csv
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from time import perf_counter

import numpy as np
import torch

from detector.artifact import Calibration
from detector.errors import SettingsRejected
from detector.model import OnnxModel
from detector.records import Floats
from training.calibrate import LEAD, calibrate
from training.channels import Channels, look
from training.config import Config, read_config
from training.data import History, Piece, read_history
from training.export import export
from training.model import Autoencoder
from training.perplexity import perplexities
from training.plots import draw_calibration, draw_losses
from training.train import Fitted, Losses, fit

GAP_PERIODS = 60  # a silence longer than this many readings makes a stream new
ENOUGH_ROWS = 20  # of each share; below, nothing can be said of a tail
SAMPLE_ROWS = 2000  # of held-out history, kept for the traces that prove a file
PACKAGES = ("torch", "onnx", "onnxscript", "onnxruntime", "numpy", "scipy")


@dataclass(frozen=True, slots=True)
class Progress:
    """Who is told how far a run is."""

    rows: Callable[[int], object] = lambda _: None
    epoch: Callable[[Losses], object] = lambda _: None
    say: Callable[[str], object] = lambda _: None


def run(config_path: Path, folder: Path, progress: Progress) -> OnnxModel:
    """Fit, calibrate and export one model.

    Args:
        config_path: The run's TOML file; its data files are found from its folder.
        folder: The run folder; made if it is missing.
        progress: Who is told.

    Returns:
        The model file, loaded as the daemon loads it.

    Raises:
        SettingsRejected: If the configuration or the data cannot be used.
        ArtifactRejected: If the exported file does not do what torch does.
    """
    config = read_config(config_path)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.toml").write_bytes(config_path.read_bytes())
    history = read_history(config.data, config_path.parent, progress.rows)
    tell_history(history, progress.say)
    _require_motion(history)
    return build(config, history, folder, progress)


def build(
    config: Config,
    history: History,
    folder: Path,
    progress: Progress,
    readings: int | None = None,
) -> OnnxModel:
    """Fit, calibrate and export one model of a history that was read; as `run` from there on.

    Args:
        config: All of the run.
        history: What `config.data` names.
        folder: The run folder; made if it is missing.
        progress: Who is told.
        readings: Of the trace that proves the file; see `export`.

    Raises:
        SettingsRejected: If the data cannot be used.
        ArtifactRejected: If the exported file does not do what torch does.
    """
    folder.mkdir(parents=True, exist_ok=True)
    config = _settled(config, history)
    period_s = config.data.period_s or history.period_s
    gap_s = config.data.largest_gap_s or GAP_PERIODS * period_s
    train, valid, held_out = history.split(config.fit.shares, gap_s, LEAD)
    _require_enough(train, valid, held_out)

    channels = look(config.data.channels, history)
    started = perf_counter()
    fitted = fit(config, history, channels, train, valid, progress.epoch)
    trained_s = perf_counter() - started
    _write_losses(folder, fitted)
    progress.say(f"best pass: {fitted.best + 1} of {len(fitted.losses)}; calibrating")
    try:
        whole = history.split((1.0,), gap_s, 0)[0]
        calibration, scores = calibrate(fitted.model, history, valid, held_out, whole, config.fit)
    except ValueError as error:
        raise SettingsRejected(str(error)) from error
    draw_calibration(folder / "calibration.png", calibration, scores)

    about = {
        "name": config.name,
        "channels": _channels(config, channels),
        "period_s": period_s,
        "largest_gap_s": gap_s,
        "warm_up": config.score.warm_up,
        "calibration": [tail.model_dump() for tail in calibration],
        "training": _record(config, history, fitted, calibration, trained_s),
    }
    sample = history.rows(held_out[0].start, held_out[0].stop)[:SAMPLE_ROWS]
    save(folder, fitted.model, about, sample)
    progress.say("exporting, and proving the file against torch")
    return export(fitted.model, about, sample, folder / "model.onnx", readings)


def save(folder: Path, model: Autoencoder, about: dict[str, object], sample: Floats) -> None:
    """Write weights, description and sample into a run folder. No pickle anywhere."""
    weights = {name: value.cpu().numpy() for name, value in model.state_dict().items()}
    np.savez(folder / "weights.npz", allow_pickle=False, **{"sample": sample, **weights})
    (folder / "about.json").write_text(json.dumps(about, indent=2), encoding="utf-8")


def restore(folder: Path) -> tuple[Autoencoder, dict[str, object], Floats]:
    """Read what `save` wrote.

    Raises:
        SettingsRejected: If that is not there.
    """
    for name in ("about.json", "weights.npz"):
        if not (folder / name).is_file():
            msg = f"{folder}: expected a run folder as `training fit` leaves it, saw no {name}"
            raise SettingsRejected(msg)
    about = json.loads((folder / "about.json").read_text(encoding="utf-8"))
    config = Config.model_validate(about["training"]["config"])
    with np.load(folder / "weights.npz") as weights:
        sample = weights["sample"]
        names = [name for name in weights.files if name != "sample"]
        judged = weights["judged"].tolist()
        model = Autoencoder(
            len(config.data.channels),
            config.network,
            config.score,
            judged,
            symbols=config.data.symbols,
        )
        model.load_state_dict({name: torch.from_numpy(weights[name]) for name in names})
    return model.eval(), about, sample


def _require_enough(*shares: Sequence[Piece]) -> None:
    names = ("training", "validation", "calibration")
    for name, share in zip(names, shares, strict=True):
        rows = sum(len(piece) - piece.lead for piece in share)
        if rows < ENOUGH_ROWS:
            msg = (
                f"expected at least {ENOUGH_ROWS} readings for {name}, saw {rows}; give more "
                "history, or mend `shares` in [fit]"
            )
            raise SettingsRejected(msg)


def _require_motion(history: History) -> None:
    rows, chunk = len(history.order), 10_000
    first = history.rows(0, 1)
    chunks = (history.rows(start, start + chunk) for start in range(0, rows, chunk))
    if not any(((part != first) & np.isfinite(part)).any() for part in chunks):
        msg = "expected a channel that moves in the history, saw only constants; mend [data]"
        raise SettingsRejected(msg)


def tell_history(history: History, say: Callable[[str], object]) -> None:
    """Say what was read, and name what was not."""
    report = history.report
    say(
        f"{len(history.order)} readings of {len(history.names)} streams in {report.rows} rows; "
        f"a reading every {history.period_s:g} s"
    )
    if report.late:
        say(f"{report.late} rows repeat a time of their stream and were left out")
    for reason, count in report.bad.items():
        say(f"{count} bad rows: {reason}")
    for example in report.examples:
        say(f"  {example}")


def _channels(config: Config, channels: Channels) -> list[dict[str, object]]:
    keep = {"name", "unit", "valid", "symbols"}
    return [
        {**channel.model_dump(include=keep), "role": role}
        for channel, role in zip(config.data.channels, channels.roles, strict=True)
    ]


def _skill(model: Autoencoder) -> float:
    return float(model.scoring.novelty.skill) if model.scoring.novelty else 0.0


def _foretold(config: Config, model: Autoencoder) -> dict[str, object]:
    """Return what the record says of symbols: nothing where there are none."""
    said = perplexities(model, [channel.name for channel in config.data.channels])
    return {"perplexity": said} if said else {}


def _settled(config: Config, history: History) -> Config:
    """Return the configuration, with a warm-up no longer than streams of the history are."""
    rows = int(np.median(np.diff(history.streams)))
    score = config.score.model_copy(update={"warm_up": min(config.score.warm_up, rows)})
    return config.model_copy(update={"score": score})


def _record(
    config: Config,
    history: History,
    fitted: Fitted,
    calibration: Sequence[Calibration],
    trained_s: float,
) -> dict[str, object]:
    best = fitted.losses[fitted.best]
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "config": config.model_dump(mode="json"),
        "data_sha256": history.report.sha256,
        "rows": history.report.rows,
        "bad_rows": dict(history.report.bad),
        "streams": len(history.names),
        "seed": config.fit.seed,
        "packages": {name: version(name) for name in PACKAGES},
        "quality": {
            "passes": len(fitted.losses),
            "trained_s": round(trained_s, 1),
            "parameters": sum(weight.numel() for weight in fitted.model.parameters()),
            "train_loss": best.train,
            "valid_loss": best.valid,
            "tail_shape": {tail.kind: tail.shape for tail in calibration},
            "shift_trust": float(fitted.model.scoring.trust),
            "joint_skill": float(fitted.model.scoring.joint.skill),
            "network_skill": float(fitted.model.scoring.surprise.skill),
            "memory_skill": _skill(fitted.model),
            **_foretold(config, fitted.model),
        },
    }


def _write_losses(folder: Path, fitted: Fitted) -> None:
    with (folder / "losses.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(Losses._fields)
        writer.writerows(fitted.losses)
    draw_losses(folder / "losses.png", fitted.losses, fitted.best)
