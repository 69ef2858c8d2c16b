"""From a fitted network to scores whose threshold is a rate of false alarms.

What is compared with the memory of normal, or with the network's forecast, took no part in
making them: the network is judged on rows it was not fitted to, the memory on a stretch of time
that was left out of it. Axes: N readings, C channels, V channels that are scored, D numbers a
window, K windows kept.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from detector.artifact import Calibration
from detector.records import Doubles, Floats, Ints
from training.config import Fit
from training.data import History, Piece
from training.evidence.scoring import TRUSTED, Evidence
from training.lanes import Batch, batches, cut, start_fresh
from training.memories import LONG_LEAD, Memories
from training.model import Autoencoder, Read
from training.perplexity import weigh_symbols
from training.tail import tail

LEAD = 256  # readings that bring a network's state up before its errors count
LONG = 8192  # readings of evidence that are carried through as one
FLOOR = 0.02  # standardised units; an error that never varies is not worth infinitely much
SHIFT_QUANTILE = 0.99
NORMAL_90 = 1.2816  # deviations that a tenth of a normal distribution exceeds
CAP = 100.0  # squared standard deviations; a wild reading is no measure of skill
INDEPENDENT = 20  # readings that tell as much as an independent one


@torch.no_grad()
def calibrate(
    model: Autoencoder,
    history: History,
    valid: Sequence[Piece],
    held_out: Sequence[Piece],
    whole: Sequence[Piece],
    options: Fit,
) -> tuple[Calibration, ...]:
    """Set all of the model's numbers that do not come from fitting.

    Args:
        model: A fitted network, in evaluation mode; its buffers change.
        history: Normal readings.
        valid: Pieces that the network was not fitted to.
        held_out: Later ones, which decided nothing so far.
        whole: All of the history, in pieces without a gap.
        options: Lanes, chunk and seed.

    Returns:
        One calibration for each column of the score.

    Raises:
        ValueError: If there are too few readings.
    """
    _blend(model, history, valid, options)
    if model.scoring.channels:
        _weigh_network(model, history, [*valid, *held_out], options)
    weigh_symbols(model, _reads(model, history, held_out, options))
    memory = Memories(model, history, whole, options.seed)
    memory.weigh()
    parts, row = [], []
    for fold in memory.folds():
        memory.remember(fold)
        evidence, rows = weigh_rows(model, history, fold, options)
        parts.append(evidence)
        row.append(rows)
    memory.remember(())
    rows = np.concatenate(row)
    order = np.argsort(rows)
    columns = torch.cat(parts)[order]
    trust = _trust(columns[:, 0].numpy())
    _set(model.scoring.trust, np.array(trust))
    columns[:, 0] *= trust
    if model.scoring.symbols:
        heard = _trust(columns[:, -1].numpy())
        _set(model.scoring.symbols.trust, np.array(heard))
        columns[:, -1] *= heard
    scores = model.scoring.score(Evidence(*torch.split(columns, 1, 1))).numpy()
    return tuple(
        tail(kind, scores[:, k], rows[order]) for k, kind in enumerate(model.scoring.kinds)
    )


@torch.no_grad()
def weigh_rows(
    model: Autoencoder, history: History, pieces: Sequence[Piece], options: Fit
) -> tuple[Tensor, Ints]:
    """Return the evidence of pieces, [N, 5] as in `Evidence`, and [N] the rows of the history."""
    parts, rows, carry = [], [], None
    long = cut(pieces, LONG, LONG_LEAD)
    for batch in batches(history, long, options.lanes, options.chunk):
        carry = start_fresh(model, carry, batch.fresh)
        read, after = model.unroll(batch.x.to(model.mean.device), carry)
        weighed, evidence = model.weigh_all(
            read, model.residual(read, model.expected(read)), carry.evidence
        )
        carry = after._replace(evidence=evidence)
        counts = batch.row >= 0
        parts.append(torch.cat(weighed, -1).cpu()[torch.from_numpy(counts)])
        rows.append(batch.row[counts])
    return torch.cat(parts), np.concatenate(rows)


def score_rows(
    model: Autoencoder, history: History, pieces: Sequence[Piece], options: Fit
) -> Floats:
    """Return the scores of pieces, [N, K], as the calibrated model gives them."""
    evidence, _ = weigh_rows(model, history, pieces, options)
    return np.asarray(model.scoring.score(Evidence(*torch.split(evidence, 1, 1))).numpy())


def _trust(shift: Floats) -> float:
    """Return the weight of shifts: less where normal streams shift by themselves."""
    usual = float(np.quantile(shift, SHIFT_QUANTILE))
    return min(1.0, TRUSTED / max(usual, FLOOR)) ** 2


def _batches(history: History, pieces: Sequence[Piece], options: Fit) -> Iterator[Batch]:
    return batches(history, cut(pieces, options.piece, LEAD), options.lanes, options.chunk)


def _reads(
    model: Autoencoder, history: History, pieces: Sequence[Piece], options: Fit
) -> Iterator[tuple[Read, Batch]]:
    """Yield what the network made of each batch."""
    carry = None
    for batch in _batches(history, pieces, options):
        carry = start_fresh(model, carry, batch.fresh)
        read, carry = model.unroll(batch.x.to(model.mean.device), carry)
        yield read, batch


def _blend(model: Autoencoder, history: History, pieces: Sequence[Piece], options: Fit) -> None:
    """Set how reconstruction and forecast share in what is expected, and its spread."""
    count, squares = 0, np.zeros((3, model.channels))
    for read, batch in _reads(model, history, pieces, options):
        counts = torch.from_numpy(batch.row >= 0)
        columns = (read.z, model.network.newest(read.features), read.forecast)
        z, own, ahead = (part[..., : model.channels] for part in columns)
        own, ahead = (own - z) * model.moves, (ahead - z) * model.moves
        products = torch.stack([own.square(), ahead.square(), own * ahead])
        count += int(counts.sum())
        squares += products[:, counts].sum(1).double().numpy()
    own, ahead, both = squares / max(count, 1)
    # The weights of least variance for two correlated estimates (Bates and Granger, 1969).
    blend = np.clip((ahead - both) / np.maximum(own + ahead - 2 * both, FLOOR**2), 0, 1)
    spread = blend**2 * own + (1 - blend) ** 2 * ahead + 2 * blend * (1 - blend) * both
    still = model.moves.numpy() == 0
    _set(model.blend, blend)
    _set(model.spread, np.where(still, 1.0, np.sqrt(np.maximum(spread, FLOOR**2))))


def _weigh_network(
    model: Autoencoder, history: History, pieces: Sequence[Piece], options: Fit
) -> None:
    """Set how the network's errors vary together, how large they are, and its weight."""
    surprise, judged = model.scoring.surprise, model.judged
    errors, squares, before = [], np.zeros(2), torch.zeros(0)
    for read, batch in _reads(model, history, pieces, options):
        counts = torch.from_numpy(batch.row >= 0)
        residual = model.residual(read, model.expected(read)).index_select(-1, judged)
        if len(before) != len(batch.fresh):
            before = torch.zeros(len(batch.fresh), surprise.widths[0])
        before[torch.from_numpy(batch.fresh)] = 0
        chunk = []
        for t in range(residual.shape[1]):
            now = surprise.smooth(residual[:, t], before)
            before = torch.cat(now[1:], 1)
            chunk.append(torch.stack(now))
        errors.append(torch.stack(chunk, 2)[:, counts])  # [M, N, V]
        off = residual * model.spread.index_select(0, judged)
        for k, values in enumerate((off, read.z.index_select(-1, judged))):
            squares[k] += float(values[counts].square().clamp(max=CAP).sum())
    every = torch.cat(errors, 1)
    _set(surprise.whiten, np.stack([_inverse_root(part.double().numpy()) for part in every]))
    size = surprise.size(list(every)).numpy().ravel()
    usual, high = np.quantile(size, [0.5, 0.9])
    _set(surprise.usual, np.array(usual))
    _set(surprise.deviation, np.array(max((high - usual) / NORMAL_90, FLOOR)))
    _set(surprise.skill, np.clip(1 - squares[0] / max(squares[1], FLOOR), 0, 1))


def _inverse_root(errors: Doubles) -> Doubles:
    """Return what whitens errors [N, V], [V, V].

    Their second moment is shrunk towards a multiple of the identity: Ledoit and Wolf, "A
    well-conditioned estimator for large-dimensional covariance matrices" (2004).
    """
    seen = errors.T @ errors / max(len(errors), 1)
    size = len(seen)
    level = np.trace(seen) / size
    distance = ((seen - level * np.eye(size)) ** 2).sum()
    fourth = float(((errors**2).sum(1) ** 2).mean())
    noise = (fourth - (seen**2).sum()) / max(len(errors) / INDEPENDENT, 1.0)
    share = float(np.clip(noise / max(distance, FLOOR**4), 0.01, 1))
    kept = share * max(level, FLOOR**2) * np.eye(size) + (1 - share) * seen
    values, vectors = np.linalg.eigh(kept)
    return np.asarray((vectors / np.sqrt(np.maximum(values, FLOOR**2))).T)


def _set(buffer: Tensor, value: Doubles) -> None:
    buffer.copy_(torch.from_numpy(np.asarray(value)))
