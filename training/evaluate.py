"""Labelled readings scored by the daemon's own stages: a track for each stream."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from detector.engine import Engine, Trace
from detector.errors import SettingsRejected
from detector.files import read_parts
from detector.judge import rules
from detector.model import StepModel
from detector.records import US_PER_S, BadRecord, Bools, Doubles, Floats, Ints, Partition, Readings
from detector.validate import Format, without_faults
from training.config import Config, Evaluate
from training.data import find_files, mapping


@dataclass(frozen=True, slots=True, kw_only=True)
class Track:
    """One stream, scored. Axes: T readings, C channels, K kinds of evidence.

    Attributes:
        ts_us: [T] event times.
        x: [T, C] float32 what was seen, engineering units, NaN where a channel is missing.
        expected: [T, C] float32 what the model held to be normal, engineering units.
        residual: [T, C] float32 expected minus seen, standardised; 0 where missing.
        score: [T, K] float32.
        probability: [T, K] that a normal reading scores as high.
        alerting: [T, K] an alert of this kind is open.
        warm: [T] past warm-up.
        restarted: [T] the stream is new, or was silent for longer than the largest gap.
        label: [T] something is wrong, as the data says.
        counts: [T] past the rows that the evaluation skips.
    """

    ts_us: Ints
    x: Floats
    expected: Floats
    residual: Floats
    score: Floats
    probability: Doubles
    alerting: Bools
    warm: Bools
    restarted: Bools
    label: Bools
    counts: Bools

    @property
    def in_alert(self) -> Bools:
        """[T] an alert of any kind is open."""
        return np.asarray(np.any(self.alerting, axis=1))


def evaluate(
    model: StepModel,
    config: Config,
    settings: Evaluate,
    root: Path,
    progress: Callable[[str], object] = lambda _: None,
) -> dict[str, Track]:
    """Score labelled files with the daemon's stages.

    Args:
        model: The model file, loaded.
        config: The run's configuration, for the mapping of columns.
        settings: Which files, which label.
        root: The folder that relative paths start from.
        progress: Takes the name of each file.

    Returns:
        A track for each stream.

    Raises:
        SettingsRejected: If there is no reading in the files.
    """
    engine = Engine(model, rules(model.manifest, settings.false_alarms_per_stream_day))
    columns, form = mapping(config.data)
    # The label is read as one more channel, and taken off before the model sees the reading.
    columns = replace(columns, channels=(*columns.channels, settings.label))
    anything = (-np.inf, np.inf)
    form = Format((*form.channels, settings.label), (*form.bounds, anything))
    arena, parts = engine.new_arena(), _Parts()
    for path, name in find_files(settings.files, root):
        progress(name)
        for part in read_parts(path, columns, form, name):
            readings, label = _without_label(part.decoded.readings)
            outcome = engine.run(arena, readings, Partition(name, 0), keep_trace=True)
            assert outcome.trace is not None  # noqa: S101 - it was asked for
            parts.add(readings, outcome.trace, label)
    tracks = {name: parts.track(name, model, settings.skip_rows) for name in parts.streams}
    if not tracks:
        msg = f"expected labelled readings in {', '.join(settings.files)}, saw none"
        raise SettingsRejected(msg)
    return tracks


def _without_label(both: Readings) -> tuple[Readings, Bools]:
    """Take the last channel off; a reading without any other value is none."""
    x, label = both.x[:, :-1], np.nan_to_num(both.x[:, -1]) != 0
    empty = np.all(np.isnan(x), axis=1)
    record = np.arange(len(x))
    faults = {row: BadRecord(row, "no_values", "") for row in np.flatnonzero(empty).tolist()}
    readings = Readings(both.streams, both.stream, both.ts_us, x, both.offset)
    return without_faults(readings, record, faults), label[~empty]


class _Parts:
    """What was read and said of each stream, part by part; a stream is joined when it is due."""

    def __init__(self) -> None:
        self._of: dict[bytes, list[list[Any]]] = {}

    @property
    def streams(self) -> list[str]:
        """Those with a scored reading, in the order they were met."""
        return [name.decode() for name in self._of]

    def add(self, readings: Readings, trace: Trace, label: Bools) -> None:
        """Take a part of a file."""
        kept = np.flatnonzero(trace.scored)
        kept = kept[np.argsort(readings.stream[kept], kind="stable")]
        first = np.searchsorted(readings.stream[kept], np.arange(len(readings.streams) + 1))
        columns = (readings.ts_us, readings.x, trace.expected, trace.residual, trace.score,
                   trace.alerting, trace.warm, label)  # fmt: skip
        for code, name in enumerate(readings.streams):
            own = kept[first[code] : first[code + 1]]
            if len(own):
                self._of.setdefault(name, []).append([column[own] for column in columns])

    def track(self, name: str, model: StepModel, skip_rows: int) -> Track:
        """Join a stream's parts, and forget them."""
        manifest = model.manifest
        columns = map(np.concatenate, zip(*self._of[name.encode()], strict=True))
        self._of[name.encode()] = []
        ts_us, x, expected, residual, score, alerting, warm, label = columns
        probability = [
            tail.probability(score[:, k].astype(np.float64))
            for k, tail in enumerate(manifest.calibration)
        ]
        gap_us = int(manifest.largest_gap_s * US_PER_S)
        return Track(
            ts_us=ts_us,
            x=x,
            expected=expected,
            residual=residual,
            score=score,
            probability=np.stack(probability, 1),
            alerting=alerting,
            warm=warm,
            restarted=np.diff(ts_us, prepend=ts_us[:1] - gap_us - 1) > gap_us,
            label=label,
            counts=np.arange(len(ts_us)) >= skip_rows,
        )
