"""One stream of a benchmark as its protocol cuts it."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from detector.records import Bools, Floats, Ints
from training.metrics.attribution import Guilt


@dataclass(frozen=True, slots=True)
class Case:
    """A stream to fit on and a stream to score. Axes: T rows, T0 rows to fit on, C channels.

    Attributes:
        name: Of the file, without its ending.
        channels: [C] names.
        commands: Channels, numbered from 0, that tell what the machine was told to do; all
            others are telemetry.
        train: [T0, C] float32, in the file's units; what a detector may be fitted on.
        x: [T, C] float32, the stream to score. Where the rows to fit on come first in the same
            stream they are its first rows too, so that a detector may warm up on them.
        ts_us: [T] event times; made up, a minute a row, where the data has none.
        label: [T] an anomaly; False where nobody knows.
        counts: [T] rows that are scored.
        window: The widest window of VUS, rows; None where the protocol has no VUS.
        changepoint: [T] an anomaly begins or ends, as the data says.
        windows: In which NAB looks for detections, as (first row, row after the last).
        guilty: Anomalies with the channels that experts held guilty.
        history: [T', C] earlier rows that the protocol does not fit on; none: [0, C].
        published: What others published for this stream, by method.
    """

    name: str
    channels: tuple[str, ...]
    train: Floats
    x: Floats
    ts_us: Ints
    label: Bools
    counts: Bools
    history: Floats
    changepoint: Bools
    window: int | None = None
    commands: tuple[int, ...] = ()
    windows: tuple[tuple[int, int], ...] = ()
    guilty: tuple[Guilt, ...] = ()
    published: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse arrays that do not belong together.

        Raises:
            ValueError: If rows or channels differ.
        """
        rows = {len(a) for a in (self.x, self.ts_us, self.label, self.counts, self.changepoint)}
        widths = {a.shape[1] for a in (self.x, self.train, self.history)} | {len(self.channels)}
        if len(rows) > 1 or len(widths) > 1:
            msg = f"{self.name}: expected the same rows and channels, saw {rows} and {widths}"
            raise ValueError(msg)

    @property
    def scored_label(self) -> Bools:
        """Labels of the rows that count."""
        scored: Bools = self.label[self.counts]
        return scored


def after(first: int, rows: int) -> Bools:
    """Return flags of [rows] that are true from the first one that counts."""
    return np.arange(rows) >= first
