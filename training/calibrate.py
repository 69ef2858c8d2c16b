"""From errors on held-out rows to a score whose threshold is a rate of false alarms.

Nothing here saw the training share: the network's errors on rows it was fitted to are several
times too small. Axes: N readings, E = 2C errors, M memories.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from scipy import stats  # type: ignore[import-untyped]
from torch import Tensor

from detector.artifact import Calibration
from detector.records import Doubles, Floats, Ints
from training.config import Fit
from training.data import History, Piece
from training.lanes import Batch, batches, cut, start_fresh
from training.model import Autoencoder

LEAD = 256  # readings that bring a state up before its errors count
FLOOR = 1e-3  # standardised units; an error that never varies is not worth infinitely much
BODY = (0.0, 0.05, 0.25, 0.5, 0.75, 0.9, 0.95, 0.98, 0.99)
TAIL_SHARE = (0.02, 0.2)  # of the readings that make the tail: the first, or more if they are few
TAIL_READINGS = 50
RUN = 30  # readings below the tail that end a cluster of exceedances


def calibrate(
    model: Autoencoder,
    history: History,
    valid: Sequence[Piece],
    held_out: Sequence[Piece],
    options: Fit,
) -> tuple[Calibration, ...]:
    """Set the model's error statistics from `valid`, then its tail from `held_out`.

    Args:
        model: A fitted network, in evaluation mode; its buffers change.
        history: The readings.
        valid: Rows that the network was not fitted to.
        held_out: Later rows, which decided nothing so far.
        options: Lanes and chunk.

    Returns:
        One calibration for each column of the score.
    """
    _scale_errors(model, history, valid, options)
    _whiten_errors(model, history, valid, options)
    scores, row = score_rows(model, history, held_out, options)
    return tuple(tail(kind, scores[:, k], row) for k, kind in enumerate(("state",)))


@torch.no_grad()
def score_rows(
    model: Autoencoder, history: History, pieces: Sequence[Piece], options: Fit
) -> tuple[Floats, Ints]:
    """Score pieces: [N, K] scores, and [N] the rows of the history they are of, rising."""
    scores, rows, carry = [], [], None
    for batch in _batches(history, pieces, options):
        carry = start_fresh(model, carry, batch.fresh)
        said, carry = model.sequence(batch.x.to(model.mean.device), carry)
        counts = batch.row >= 0
        scores.append(said.score.cpu().numpy()[counts])
        rows.append(batch.row[counts])
    row = np.concatenate(rows)
    order = np.argsort(row)
    return np.concatenate(scores)[order], row[order]


def _batches(history: History, pieces: Sequence[Piece], options: Fit) -> Iterator[Batch]:
    return batches(history, cut(pieces, options.piece, LEAD), options.lanes, options.chunk)


@torch.no_grad()
def _scale_errors(
    model: Autoencoder, history: History, pieces: Sequence[Piece], options: Fit
) -> None:
    """Set the mean and scale of errors, and the blend of the two that is expected."""
    moments, carry = _Moments(2 * model.channels), None
    for batch in _batches(history, pieces, options):
        carry = start_fresh(model, carry, batch.fresh)
        read, carry = model.unroll(batch.x.to(model.mean.device), carry)
        moments.add(model.raw_errors(read), batch)
    covariance = moments.covariance()
    own, ahead = np.split(np.diag(covariance), 2)
    both = np.diag(covariance[: model.channels, model.channels :])
    # The weights of least variance for two correlated estimates (Bates and Granger, 1969).
    blend = np.clip((ahead - both) / np.maximum(own + ahead - 2 * both, FLOOR**2), 0, 1)
    spread = blend**2 * own + (1 - blend) ** 2 * ahead + 2 * blend * (1 - blend) * both
    _set(model.error_mean, moments.mean)
    _set(model.error_scale, np.sqrt(np.maximum(np.diag(covariance), FLOOR**2)))
    _set(model.blend, blend)
    _set(model.spread, np.sqrt(np.maximum(spread, FLOOR**2)))


@torch.no_grad()
def _whiten_errors(
    model: Autoencoder, history: History, pieces: Sequence[Piece], options: Fit
) -> None:
    """Set what whitens the errors of every horizon, and what fills those of a missing channel."""
    memories = (1 / model.rate).tolist()
    moments, carry = [_Moments(2 * model.channels) for _ in memories], None
    for batch in _batches(history, pieces, options):
        carry = start_fresh(model, carry, batch.fresh)
        read, after = model.unroll(batch.x.to(model.mean.device), carry)
        smoothed, memory = model.smooth(model.errors(read), carry.memory)
        carry = after._replace(memory=memory)
        for horizon, errors in zip(moments, smoothed, strict=True):
            horizon.add(errors, batch)
    # Readings smoothed over m are worth one in 2m - 1.
    shrunk = [
        horizon.shrunk(horizon.count / (2 * memory - 1))
        for horizon, memory in zip(moments, memories, strict=True)
    ]
    _set(model.fill, _expectation_of_missing(shrunk[0]))
    _set(model.whiten, np.stack([_inverse_root(covariance) for covariance in shrunk]))


def _set(buffer: Tensor, value: Doubles) -> None:
    buffer.copy_(torch.from_numpy(value))


class _Moments:
    """Mean and covariance of errors that come in chunks, [E] and [E, E] float64."""

    def __init__(self, errors: int) -> None:
        self.count = 0
        self._sum = np.zeros(errors)
        self._outer = np.zeros((errors, errors))
        self._fourth = 0.0

    def add(self, errors: Tensor, batch: Batch) -> None:
        """Take the rows of [L, T, E] that count."""
        rows = errors.cpu().numpy()[batch.row >= 0].astype(np.float64)
        self.count += len(rows)
        self._sum += rows.sum(0)
        self._outer += rows.T @ rows
        self._fourth += float(((rows**2).sum(1) ** 2).sum())

    @property
    def mean(self) -> Doubles:
        return np.asarray(self._sum / max(self.count, 1))

    def covariance(self) -> Doubles:
        return np.asarray(self._outer / max(self.count, 1) - np.outer(self.mean, self.mean))

    def shrunk(self, worth: float) -> Doubles:
        """Return the second moment about 0, shrunk towards a multiple of the identity.

        Ledoit and Wolf, "A well-conditioned estimator for large-dimensional covariance
        matrices" (2004), with as many readings as the correlated ones are worth.
        """
        seen = self._outer / max(self.count, 1)
        size = len(seen)
        level = np.trace(seen) / size
        distance = ((seen - level * np.eye(size)) ** 2).sum()
        noise = (self._fourth / max(self.count, 1) - (seen**2).sum()) / max(worth, 1.0)
        share = float(np.clip(noise / max(distance, FLOOR**4), 0.01, 1))
        return np.asarray(share * max(level, FLOOR**2) * np.eye(size) + (1 - share) * seen)


def _expectation_of_missing(covariance: Doubles) -> Doubles:
    """Return [E, E]: a missing channel's two errors, given those of all others.

    Exact (conditional expectation of a Gaussian) where one channel is missing.
    """
    precision, channels = np.linalg.inv(covariance), len(covariance) // 2
    fill = np.zeros_like(precision)
    for c in range(channels):
        own = np.array([c, c + channels])
        others = np.delete(np.arange(2 * channels), own)
        inner, outer = precision[np.ix_(own, own)], precision[np.ix_(own, others)]
        fill[np.ix_(own, others)] = -np.linalg.solve(inner, outer)
    return fill


def _inverse_root(covariance: Doubles) -> Doubles:
    values, vectors = np.linalg.eigh(covariance)
    return np.asarray((vectors / np.sqrt(np.maximum(values, FLOOR**2))).T)


def tail(kind: str, scores: Floats, row: Ints) -> Calibration:
    """Fit how often normal readings score how high: quantiles, then a generalised Pareto tail.

    Peaks over threshold, as in Siffer et al., "Anomaly Detection in Streams with Extreme Value
    Theory" (KDD 2017).

    Args:
        kind: Of evidence.
        scores: [N] of held-out readings.
        row: [N] their rows, rising; neighbours in time differ by one.

    Raises:
        ValueError: If there are too few readings to speak of a tail, or all are alike.
    """
    if len(scores) < TAIL_READINGS:
        msg = (
            f"expected at least {TAIL_READINGS} held-out readings to calibrate on, saw "
            f"{len(scores)}; give more history or a larger last share"
        )
        raise ValueError(msg)
    values = scores.astype(np.float64)
    share = float(np.clip(TAIL_READINGS / len(values), *TAIL_SHARE))
    body = [q for q in BODY if q < 1 - share] + [1 - share]
    levels, first = np.unique(np.quantile(values, body), return_index=True)
    exceedance = 1 - np.array(body)[first]
    excess = values[values > levels[-1]] - levels[-1]
    if not len(excess):
        msg = f"expected held-out scores that differ, saw all of the highest at {levels[-1]:.3g}"
        raise ValueError(msg)
    shape, _, scale = stats.genpareto.fit(excess, floc=0)
    if not 0 <= shape <= 1:
        shape, scale = max(0.0, min(shape, 1.0)), excess.mean() * (1 - max(0.0, min(shape, 0.5)))
    over = row[values > levels[-1]]
    clusters = 1 + int((np.diff(over) > RUN).sum())
    return Calibration(
        kind=kind,
        levels=tuple(levels.tolist()),
        exceedance=tuple(exceedance.tolist()),
        scale=max(float(scale), FLOOR),
        shape=float(shape),
        extremal_index=clusters / len(over),
    )
