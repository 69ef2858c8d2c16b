"""The memory of normal: windows of history, and what is known of it from windows left out.

Axes: R rows of the history, V channels that are scored, D numbers a window.
"""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from detector.records import Ints
from training.data import History, Piece
from training.evidence.curves import compress
from training.evidence.joint import SLOW
from training.evidence.novelty import Novelty
from training.evidence.windows import LONGEST, blocks
from training.model import SEEN_LIMIT, Autoencoder
from training.whitening import FLOOR

LONG_LEAD = int(SLOW)  # readings that bring the state of evidence up before it counts
LEARNING = 0.25  # first part of a stream, on which its evidence is not counted
FOLDS = 3  # stretches of the rest, each judged by a memory without it
FEW = 50_000  # readings; of more, the last stretch is enough
SAMPLE = 4000  # windows a stretch that tell what distance is usual
LEAST_USUAL = 1.0  # standard deviations; a nearer memory is no reason for more trust


class Memories:
    """The memory of normal, made of all history, or of all but a stretch to be judged by it."""

    def __init__(
        self, model: Autoencoder, history: History, whole: Sequence[Piece], seed: int
    ) -> None:
        """Take a history in pieces without a gap, sorted; nothing is remembered yet."""
        self._model, self._history = model, history
        self._novelty: Novelty | None = model.scoring.novelty
        self._random = np.random.default_rng(seed)
        self._whole = list(whole)

    def folds(self) -> list[list[Piece]]:
        """Return stretches of time; in each a part of every piece, all before it its lead."""
        few = len(self._history.order) < FEW
        edges = np.linspace(LEARNING, 1, FOLDS + 1) if few else np.array([1 - LEARNING, 1])
        folds = []
        for low, high in pairwise(edges.tolist()):
            fold = []
            for s in self._whole:
                first, stop = (s.start + round(float(at) * len(s)) for at in (low, high))
                begin = s.start if few else max(s.start, first - LONG_LEAD)
                fold.append(Piece(begin, stop, first - begin))
            folds.append([piece for piece in fold if len(piece) > piece.lead])
        return folds

    def remember(self, without: Sequence[Piece]) -> None:
        """Choose windows at random, from all rows but those that count in some pieces."""
        if self._novelty is None:
            return
        allowed = np.zeros(len(self._history.order), np.bool_)
        for piece in self._whole:
            allowed[piece.start : piece.stop] = True
        for piece in without:
            near = max(piece.start, piece.start + piece.lead - LONGEST)
            allowed[near : piece.stop + LONGEST] = False
        rows = np.flatnonzero(allowed)
        count = len(self._novelty.memory)
        # Where there are fewer rows than places, some are remembered twice: that costs nothing.
        chosen = self._random.choice(rows, count, replace=len(rows) < count)
        self._novelty.memory.copy_(self.windows(np.sort(chosen)))

    def weigh(self) -> None:
        """Set which distance from the memory is usual, and how much of the variance it explains."""
        if self._novelty is None:
            return
        near, all_of = [], []
        for fold in self.folds():
            self.remember(fold)
            rows = np.concatenate([np.arange(p.start + p.lead, p.stop) for p in fold])
            if len(rows) > SAMPLE:
                rows = np.sort(self._random.choice(rows, SAMPLE, replace=False))
            seen = self.windows(rows)
            near.append(self._novelty.distance(seen).numpy().ravel())
            all_of.append(seen.numpy())
        distance, window = np.concatenate(near), np.concatenate(all_of).astype(np.float64)
        spread = float(((window - window.mean(0)) ** 2).sum(1).mean())
        skill = 1 - float((distance**2).mean()) / spread if spread > FLOOR**2 else 1.0
        self._novelty.usual.fill_(max(float(np.median(distance)), LEAST_USUAL))
        self._novelty.skill.fill_(max(skill, 0.0))

    def windows(self, rows: Ints) -> Tensor:
        """Return the windows that end with rows of the pieces, [R, D].

        Before a piece begins, its first reading stands in.
        """
        starts = np.array([piece.start for piece in self._whole])
        first = starts[np.searchsorted(starts, rows, side="right") - 1]
        seen = np.maximum(rows[:, None] - np.arange(LONGEST), first[:, None])  # newest first
        u = torch.nan_to_num(sensed(self._model, self._history, seen.ravel()))
        return blocks(u.reshape(len(rows), -1), u.shape[1])


def sensed(model: Autoencoder, history: History, rows: Ints) -> Tensor:
    """Return readings as evidence sees them, [N, V], NaN where one is missing."""
    x = torch.from_numpy(np.asarray(history.x[history.order[rows]]))
    z = ((x - model.mean) / model.scale).clamp(-SEEN_LIMIT, SEEN_LIMIT)
    return compress(z.index_select(1, model.judged))
