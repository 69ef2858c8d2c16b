"""Train several networks from one configuration, and measure each as the daemon would run it."""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple, get_args

import numpy as np

from detector.errors import ArtifactRejected, SettingsRejected
from detector.model import OnnxModel, load
from training.comparison import NO_NETWORK, Comparison, Row
from training.config import Config, Kind, read_config
from training.data import read_history
from training.evaluate import evaluate
from training.metrics.ranges import average_precision
from training.run import Progress, build
from training.timing import step_costs
from training.workers import workers

BASELINE: Kind = "persistence"  # without weights there is no luck: one seed says it all
WIDE = 1024  # streams of a wide tick


class Made(NamedTuple):
    """One model, the file it is in, and how good it is."""

    file: Path
    quality: float

    def model(self) -> OnnxModel:
        """Return it, as the daemon would load it."""
        return load(self.file)


def kinds_of(text: str) -> list[Kind]:
    """Read a list of networks, separated by commas.

    Raises:
        SettingsRejected: If one is unknown.
    """
    known: dict[str, Kind] = {kind: kind for kind in get_args(Kind)}
    names = [name.strip() for name in text.split(",") if name.strip()]
    unknown = [name for name in names if name not in known]
    if unknown or not names:
        msg = f"expected networks among {', '.join(known)}, saw {', '.join(unknown) or 'none'}"
        raise SettingsRejected(msg)
    return [known[name] for name in dict.fromkeys(names)]


def compare(
    config_path: Path,
    kinds: Sequence[Kind],
    folder: Path,
    seeds: int,
    say: Callable[[str], object] = lambda _: None,
    jobs: int = 1,
) -> Comparison:
    """Train, export and measure each network, and one that is none.

    The quality is the average precision of how rare readings are, over all that [evaluate] counts:
    a threshold would flip whole files by luck. Where there is no [evaluate], the held-out loss.

    Args:
        config_path: One TOML file; only the kind and the seed differ between the runs.
        kinds: The networks.
        folder: Takes a run folder for each run.
        seeds: How often each is trained, from `fit.seed` on.
        say: Takes a line after each network.
        jobs: Processes that train side by side; steps are timed when all have ended.

    Raises:
        SettingsRejected: If the configuration or the data cannot be used.
        ArtifactRejected: If of no network a file could be proven.
    """
    config, root = read_config(config_path), config_path.parent
    made: dict[str, list[Made]] = {}
    refused: dict[str, str] = {}
    asked: list[Kind] = [kind for kind in kinds if kind != BASELINE]
    with workers(jobs) as pool:
        begun: dict[str, list[Future[Made]]] = {}
        for kind in [*asked, BASELINE]:
            runs = [_with(config, kind, seed) for seed in range(1 if kind == BASELINE else seeds)]
            begun[NO_NETWORK if kind == BASELINE else kind] = [
                pool.submit(_make, run, root, folder) for run in runs
            ]
        for name, futures in begun.items():
            try:
                made[name] = [future.result() for future in futures]
            except ArtifactRejected as error:
                refused[name] = str(error)
                say(f"{name}: refused")
                continue
            say(f"{name}: {_measure(config)} {', '.join(f'{m.quality:.4f}' for m in made[name])}")
    if not made:
        raise ArtifactRejected("; ".join(refused.values()))
    say(f"timing steps of 1 and of {WIDE} streams, on one thread")
    return Comparison(_measure(config), config.evaluate is not None, _rows(made), refused)


def _make(config: Config, root: Path, folder: Path) -> Made:
    """Run one configuration into a folder of its own, and measure what came of it."""
    own = folder / f"{config.network.kind}-{config.fit.seed}"
    model = build(config, read_history(config.data, root), own, Progress())
    if config.evaluate is None:
        quality = float(_record(model)["valid_loss"])
    else:
        tracks = evaluate(model, config, config.evaluate, root).values()
        label = np.concatenate([track.label[track.counts] for track in tracks])
        rarest = np.concatenate([track.probability[track.counts].min(1) for track in tracks])
        quality = average_precision(label, -rarest)
    return Made(own / "model.onnx", quality)


def _with(config: Config, kind: Kind, seed: int) -> Config:
    """Return a configuration of another kind, its seed moved on."""
    network = config.network.model_copy(update={"kind": kind})
    fit = config.fit.model_copy(update={"seed": config.fit.seed + seed})
    return config.model_copy(update={"network": network, "fit": fit})


def _measure(config: Config) -> str:
    return "AP" if config.evaluate else "held-out loss"


def _record(model: OnnxModel) -> dict[str, Any]:
    record: dict[str, Any] = dict(model.manifest.training)
    quality: dict[str, Any] = record["quality"]
    return quality


def _rows(made: Mapping[str, Sequence[Made]]) -> tuple[Row, ...]:
    models = {name: [run.model() for run in runs] for name, runs in made.items()}
    first = {name: several[0] for name, several in models.items()}
    alone, wide = step_costs(first, 1), step_costs(first, WIDE)
    return tuple(
        Row(
            network=name,
            quality=tuple(run.quality for run in runs),
            parameters=_record(first[name])["parameters"],
            trained_s=median(_record(model)["trained_s"] for model in models[name]),
            state_width=first[name].manifest.state_width,
            alone_us=alone[name],
            wide_us=wide[name],
        )
        for name, runs in made.items()
    )
