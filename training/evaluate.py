"""How a model does on labelled readings, through the daemon's own stages."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np

from detector.engine import Engine, Trace
from detector.errors import SettingsRejected
from detector.files import Columns, read_parts
from detector.judge import rules
from detector.model import StepModel
from detector.records import US_PER_S, BadRecord, Bools, Doubles, Floats, Ints, Partition, Readings
from detector.validate import Format, without_faults
from training.config import Config, Evaluate
from training.data import find_files, mapping


@dataclass(frozen=True, slots=True)
class Track:
    """One stream, scored: [T] each.

    Attributes:
        ts_us: Event times.
        score: The first kind of evidence.
        probability: That a normal reading scores as high.
        alerting: An alert of any kind is open.
        label: Something is wrong, as the data says.
        counts: Past the rows that the evaluation skips.
    """

    ts_us: Ints
    score: Floats
    probability: Doubles
    alerting: Bools
    label: Bools
    counts: Bools


@dataclass(frozen=True, slots=True)
class Figures:
    """What came of it; readings are counted one by one, without any adjustment.

    Attributes:
        f1: Harmonic mean of precision and recall.
        far: False alarm rate: part of the normal readings that were in alert.
        mar: Missed alarm rate: part of the anomalous readings that were not.
        events: Stretches of labelled readings.
        found: Those with an alert open somewhere in them.
        delay_s: Median, from a found stretch's begin to its first reading in alert.
        false_a_day: Alerts opened on normal readings, a stream and day.
    """

    readings: int
    anomalous: int
    f1: float
    far: float
    mar: float
    events: int
    found: int
    delay_s: float
    false_a_day: float

    def lines(self) -> list[str]:
        """Return each figure as a line."""
        return [f"{field.name:<12} {getattr(self, field.name):.4g}" for field in fields(self)]


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
    columns = Columns(columns.time, (*columns.channels, settings.label), columns.stream)
    anything = (-np.inf, np.inf)
    form = Format((*form.channels, settings.label), (*form.bounds, anything))
    arena, pieces = engine.new_arena(), []
    for path, name in find_files(settings.files, root):
        progress(name)
        for part in read_parts(path, columns, form, name):
            readings, label = _without_label(part.decoded.readings)
            outcome = engine.run(arena, readings, Partition(name, 0), keep_trace=True)
            assert outcome.trace is not None  # noqa: S101 - it was asked for
            pieces.append((readings, outcome.trace, label))
    tracks = _tracks(pieces, model, settings.skip_rows)
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


def measure(tracks: Iterable[Track]) -> Figures:
    """Count what the alerts of all tracks got right and wrong."""
    hits = false = missed = quiet = events = opened = readings = 0
    days, delays = 0.0, []
    for track in tracks:
        alerting, label = track.alerting[track.counts], track.label[track.counts]
        ts_us = track.ts_us[track.counts]
        if not len(ts_us):
            continue
        readings += len(ts_us)
        hits += int((alerting & label).sum())
        false += int((alerting & ~label).sum())
        missed += int((~alerting & label).sum())
        quiet += int((~label).sum())
        opens = np.diff(alerting.astype(np.int8), prepend=0) == 1
        opened += int((opens & ~label).sum())
        days += float(ts_us[-1] - ts_us[0]) / US_PER_S / 86_400
        for start, stop in _stretches(label):
            events += 1
            inside = np.flatnonzero(alerting[start:stop])
            if len(inside):
                delays.append(float(ts_us[start + inside[0]] - ts_us[start]) / US_PER_S)
    return Figures(
        readings=readings,
        anomalous=hits + missed,
        f1=2 * hits / max(2 * hits + false + missed, 1),
        far=false / max(quiet, 1),
        mar=missed / max(hits + missed, 1),
        events=events,
        found=len(delays),
        delay_s=float(np.median(delays)) if delays else float("nan"),
        false_a_day=opened / days if days else float("nan"),
    )


def _stretches(label: Bools) -> list[tuple[int, int]]:
    edges = np.flatnonzero(np.diff(label.astype(np.int8), prepend=0, append=0)).tolist()
    return list(zip(edges[::2], edges[1::2], strict=True))


def _tracks(
    pieces: Sequence[tuple[Readings, Trace, Bools]], model: StepModel, skip_rows: int
) -> dict[str, Track]:
    """Put the parts of a file together and take its streams apart."""
    codes: dict[bytes, int] = {}
    stream = np.concatenate(
        [
            np.array([codes.setdefault(s, len(codes)) for s in r.streams], np.int64)[r.stream]
            for r, _, _ in pieces
        ]
    )
    ts_us = np.concatenate([readings.ts_us for readings, _, _ in pieces])
    scored = np.concatenate([trace.scored for _, trace, _ in pieces])
    score = np.concatenate([trace.score for _, trace, _ in pieces])
    alerting = np.any(np.concatenate([trace.alerting for _, trace, _ in pieces]), axis=1)
    label = np.concatenate([label for _, _, label in pieces])
    tracks = {}
    for name, code in codes.items():
        own = np.flatnonzero((stream == code) & scored)
        tracks[name.decode()] = Track(
            ts_us[own],
            score[own, 0],
            model.manifest.calibration[0].probability(score[own, 0].astype(np.float64)),
            alerting[own],
            label[own],
            np.arange(len(own)) >= skip_rows,
        )
    return tracks
