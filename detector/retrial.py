"""Kept scores judged again at several settings at once, by the daemon's own judge. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from detector.artifact import Manifest
from detector.batch import ticks
from detector.judge import Rules, Tick, judge
from detector.records import US_PER_S, Readings
from detector.slab import grown
from detector.state import DOCKET, NEVER_US, PACE

GROWTH_ROWS = 64
# False alarms a stream and day that one may ask for: from two a decade on.
RATES = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0)


@dataclass(slots=True)
class Told:
    """An alert that a setting would have raised.

    Attributes:
        setting: Number of the rules.
        stream: Whose.
        opened_us: Event time of the reading with which it was told.
        closed_us: Of the one that closed it; None where it was open at the end.
    """

    setting: int
    stream: str
    opened_us: int
    closed_us: int | None = None


def usable(manifest: Manifest, rates: Sequence[float] = RATES) -> list[float]:
    """Return the rates that a level stands for: rarer than an alarm at every reading."""
    return [
        rate
        for rate in rates
        if all(
            tail.reading_probability(rate, manifest.period_s) < 1 for tail in manifest.calibration
        )
    ]


def side_by_side(several: Sequence[Rules]) -> Rules:
    """Return R rules, that differ in their levels alone, as those of R K kinds: [R K] levels."""
    first = several[0]
    return Rules(
        np.concatenate([one.open_level for one in several]),
        np.concatenate([one.warning_level for one in several]),
        np.concatenate([one.critical_level for one in several]),
        np.concatenate([one.calm_level for one in several]),
        first.close_share,
        first.open_after,
        first.close_after,
        first.cool_down_us,
    )


class Retrial:
    """Judges scored readings, part by part; a setting is one more kind of evidence to the judge.

    Attributes:
        told: All alerts, in the order they opened, a stream's before the next's within a part.
    """

    def __init__(self, manifest: Manifest, several: Sequence[Rules]) -> None:
        """Begin with no stream.

        Args:
            manifest: Of the model that scored.
            several: R rules that differ in their levels alone.
        """
        self.told: list[Told] = []
        self._manifest = manifest
        self._kinds, self._settings = len(manifest.kinds), len(several)
        self._rules = side_by_side(several)
        self._row: dict[bytes, int] = {}
        self._names: list[str] = []
        self._pace = np.zeros(0, PACE)
        self._docket = np.zeros((0, self._kinds * self._settings), DOCKET)
        self._open: dict[tuple[int, int], Told] = {}

    def judge(self, scored: Readings) -> None:
        """Judge readings that were scored (so none is late), their scores [N, K] in place of x."""
        rows = np.array([self._row_of(stream) for stream in scored.streams], np.int64)
        gap_us = int(self._manifest.largest_gap_s * US_PER_S)
        for tick in ticks(scored.stream, len(scored.streams)):
            row, ts_us = rows[scored.stream[tick]], scored.ts_us[tick]
            pace = self._pace[row]
            restarted = pace["last_us"] < ts_us - gap_us
            seen = np.where(restarted, 0, pace["seen"]) + 1
            verdicts = judge(
                Tick(
                    self._docket[row],
                    np.tile(scored.x[tick], self._settings),
                    ts_us,
                    scored.offset[tick],
                    seen=seen,
                    warm=seen > self._manifest.warm_up,
                    restarted=restarted,
                    # Only what opens matters here, not how severe it is.
                    residual=np.zeros((len(tick), 1), np.float32),
                ),
                self._rules,
            )
            pace["last_us"], pace["seen"] = ts_us, seen
            self._pace[row], self._docket[row] = pace, verdicts.docket
            for b, column in np.argwhere(verdicts.closed).tolist():
                self._open.pop((int(row[b]), column)).closed_us = int(ts_us[b])
            for b, column in np.argwhere(verdicts.opened).tolist():
                name = self._names[int(row[b])]
                alert = Told(column // self._kinds, name, int(ts_us[b]))
                self._open[int(row[b]), column] = alert
                self.told.append(alert)

    def _row_of(self, stream: bytes) -> int:
        row = self._row.setdefault(stream, len(self._names))
        if row == len(self._names):
            self._names.append(stream.decode())
            before = len(self._pace)
            if row == before:
                capacity = grown(before, row + 1, GROWTH_ROWS)
                self._pace.resize(capacity, refcheck=False)
                self._docket.resize((capacity, self._docket.shape[1]), refcheck=False)
                self._pace["last_us"][before:] = NEVER_US
        return row
