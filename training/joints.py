"""How channels go together in normal history, judged on stretches that took no part in it.

Axes: N readings, V channels that are scored, M horizons.
"""

from collections.abc import Iterator, Sequence
from functools import reduce

import numpy as np
import torch
from scipy.signal import lfilter  # type: ignore[import-untyped]

from detector.records import Doubles, Ints
from training.data import History, Piece
from training.evidence.joint import SLOW, Joint
from training.evidence.whitened import HORIZONS
from training.memories import sensed
from training.model import Autoencoder
from training.whitening import CAP, FLOOR, Moments, inverse_root, usual_size

ROWS = 1 << 15  # read together
LEAST_USUAL, LEAST_DEVIATION = 0.5, 0.05  # of a size that is 1 where history repeats itself
# Numerator and denominator of what `training.evidence.joint` does one reading after the other.
CENTRED = ([1.0, -1.0], [1.0, 1 / SLOW - 1])
SMOOTH = [([1 / horizon], [1.0, 1 / horizon - 1]) for horizon in HORIZONS[1:]]


class Joints:
    """Second moments of all history, kept apart by the stretch that they are of."""

    def __init__(
        self,
        model: Autoencoder,
        history: History,
        whole: Sequence[Piece],
        folds: Sequence[Sequence[Piece]],
    ) -> None:
        """Take a history in pieces without a gap, and the stretches that are judged."""
        self._model, self._history, self._whole = model, history, whole
        self._joint: Joint | None = model.scoring.joint if model.scoring.channels else None
        self._folds = len(folds)
        # Which stretch a row counts in; the last number is of rows that count in none.
        self._fold = np.full(len(history.order), self._folds)
        for k, fold in enumerate(folds):
            for piece in fold:
                self._fold[piece.start + piece.lead : piece.stop] = k
        if self._joint is None:
            return
        nothing = Moments(0, np.zeros((len(model.judged),) * 2), 0.0)
        self._moments = [[nothing] * len(HORIZONS) for _ in range(self._folds + 1)]
        for rows, x in self._smoothed():
            for k in np.unique(self._fold[rows]):
                seen = x[:, self._fold[rows] == k]
                self._moments[k] = [
                    before.plus(Moments.of(part))
                    for before, part in zip(self._moments[k], seen, strict=True)
                ]

    def fit(self, without: int | None = None) -> None:
        """Whiten as all rows do that do not count in one stretch."""
        if self._joint is None:
            return
        kept = [moments for k, moments in enumerate(self._moments) if k != without]
        whiten = [inverse_root(reduce(Moments.plus, parts)) for parts in zip(*kept, strict=True)]
        self._joint.whiten.copy_(torch.from_numpy(np.stack(whiten)))

    def weigh(self) -> None:
        """Set which size is usual, and how much of a channel the others explain."""
        if self._joint is None:
            return
        whiten = []
        for k in range(self._folds):
            self.fit(k)
            whiten.append(self._joint.whiten.clone())
        sizes: list[Doubles] = []
        squares = np.zeros(2)
        for rows, x in self._smoothed():
            for k in np.unique(self._fold[rows]):
                if k == self._folds:
                    continue
                self._joint.whiten.copy_(whiten[k])
                seen = x[:, self._fold[rows] == k]
                sizes.append(self._joint.size(list(torch.from_numpy(seen).float())).numpy().ravel())
                # What the others say of a channel: their regression, read off the precision.
                white = whiten[k][0].double().numpy()
                precision = white.T @ white
                alone = seen[0] @ precision / np.diag(precision)
                squares += [np.minimum(part**2, CAP).sum() for part in (alone, seen[0])]
        size = np.concatenate(sizes).astype(np.float64)
        usual, deviation = usual_size(size, LEAST_USUAL, LEAST_DEVIATION)
        self._joint.usual.fill_(usual)
        self._joint.deviation.fill_(deviation)
        skill = 1 - squares[0] / max(squares[1], FLOOR)
        self._joint.skill.fill_(float(np.clip(skill, 0, 1)))

    def _smoothed(self) -> Iterator[tuple[Ints, Doubles]]:
        """Yield rows, and the readings that the whitening sees of them, [M, N, V]."""
        for piece in self._whole:
            width = len(self._model.judged)
            last = np.zeros(width)
            memory = [np.zeros((1, width)) for _ in HORIZONS]
            for start in range(piece.start, piece.stop, ROWS):
                rows = np.arange(start, min(start + ROWS, piece.stop))
                u = self._readings(rows, last)
                last = u[-1]
                x, memory[0] = lfilter(*CENTRED, u, axis=0, zi=memory[0])
                parts = [x]
                for m, terms in enumerate(SMOOTH, 1):
                    part, memory[m] = lfilter(*terms, x, axis=0, zi=memory[m])
                    parts.append(part)
                yield rows, np.stack(parts)

    def _readings(self, rows: Ints, last: Doubles) -> Doubles:
        """Return compressed readings, [N, V], the last one where one is missing."""
        u = sensed(self._model, self._history, rows).double()
        seen = np.concatenate([last[None], u.numpy()])
        latest = np.where(np.isnan(seen), 0, np.arange(len(seen))[:, None])
        filled = np.take_along_axis(seen, np.maximum.accumulate(latest, 0), 0)
        return np.asarray(filled[1:])
