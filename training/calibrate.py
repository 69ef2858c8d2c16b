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
from training.evidence.shift import LEAST_VARIANCE
from training.evidence.surprise import LIMIT
from training.graph import Weigher
from training.joints import Joints
from training.lanes import Batch, batches, cut, start_fresh
from training.memories import LONG_LEAD, Memories, sensed
from training.model import Autoencoder
from training.perplexity import weigh_symbols
from training.tail import tail
from training.told import Read
from training.whitening import CAP, FLOOR, Moments, inverse_root, usual_size

LEAD = 256  # readings that bring a network's state up before its errors count
LONG = 8192  # readings of evidence that are carried through as one
TRUST_QUANTILE = 0.99
BESIDE_QUANTILE = 0.999  # where the joint evidence and the rest are equally rare
LEAST_DEVIATION = 0.1  # of the size of whitened errors, which is about 1
LEAST_JOINT = 0.25  # deviations; below, joint evidence has no tail to speak of
STRETCH = 1 << 16  # readings of a piece that tell how much it varies
STEADIEST = 0.01  # of the history's spread; a stream that moves less is held to that


@torch.no_grad()
def calibrate(
    model: Autoencoder,
    history: History,
    valid: Sequence[Piece],
    held_out: Sequence[Piece],
    whole: Sequence[Piece],
    options: Fit,
) -> tuple[tuple[Calibration, ...], Floats]:
    """Set all of the model's numbers that do not come from fitting.

    Args:
        model: A fitted network, in evaluation mode; its buffers change.
        history: Normal readings.
        valid: Pieces that the network was not fitted to.
        held_out: Later ones, which decided nothing so far.
        whole: All of the history, in pieces without a gap.
        options: Lanes, chunk and seed.

    Returns:
        One calibration for each column of the score, and the scores that they rest on, [N, K].

    Raises:
        ValueError: If there are too few readings.
    """
    _blend(model, history, valid, options)
    if model.scoring.channels:
        _weigh_network(model, history, [*valid, *held_out], options)
        _steady(model, history, whole)
    weigh_symbols(model, _reads(model, history, held_out, options))
    memory = Memories(model, history, whole, options.seed)
    memory.weigh()
    folds = memory.folds()
    joints = Joints(model, history, whole, folds)
    joints.weigh()
    for weight in model.scoring.weights:
        _set(weight, np.ones(()))
    parts, row = [], []
    for k, fold in enumerate(folds):
        memory.remember(fold)
        joints.fit(without=k)
        evidence, rows = weigh_rows(model, history, fold, options)
        parts.append(evidence)
        row.append(rows)
    memory.remember(())
    joints.fit()
    rows = np.concatenate(row)
    order = np.argsort(rows)
    balanced = _balance(model, _evidence(torch.cat(parts)[order]))
    scores = np.asarray(model.scoring.score(balanced).numpy())
    tails = [tail(kind, scores[:, k], rows[order]) for k, kind in enumerate(model.scoring.kinds)]
    return tuple(tails), scores


@torch.no_grad()
def weigh_rows(
    model: Autoencoder, history: History, pieces: Sequence[Piece], options: Fit
) -> tuple[Tensor, Ints]:
    """Return what each witness says of pieces, [N, 6], and [N] the rows of the history."""
    weigh, parts, rows = Weigher(model), [], []
    for batch in batches(history, cut(pieces, LONG, LONG_LEAD), options.lanes, options.chunk):
        counts = batch.row >= 0
        parts.append(weigh(batch.x, batch.fresh)[torch.from_numpy(counts)])
        rows.append(batch.row[counts])
    return torch.cat(parts), np.concatenate(rows)


def _evidence(columns: Tensor) -> Evidence:
    return Evidence(*torch.split(columns, 1, 1))


def _balance(model: Autoencoder, said: Evidence) -> Evidence:
    """Set what shifts, joint evidence and symbols weigh, and return the evidence with it.

    A shift weighs less where normal streams shift by themselves. Joint evidence is as rare as
    the rest together, and weighs as much less as the channels say less of each other.
    """
    scoring = model.scoring
    _set(scoring.trust, np.array(_trust(said.shift)))
    said = said._replace(shift=said.shift * scoring.trust)
    alone, joint = (
        float(np.quantile(part, BESIDE_QUANTILE)) for part in (scoring.alone(said), said.joint)
    )
    _set(scoring.agree, scoring.joint.skill.numpy() * alone / max(joint, LEAST_JOINT))
    said = said._replace(joint=said.joint * scoring.agree)
    if scoring.symbols:
        _set(scoring.symbols.trust, np.array(_trust(said.symbols)))
        said = said._replace(symbols=said.symbols * scoring.symbols.trust)
    return said


def _trust(evidence: Tensor) -> float:
    """Return the weight of evidence: less where normal streams have much of it."""
    usual = float(np.quantile(evidence, TRUST_QUANTILE))
    return min(1.0, TRUSTED / max(usual, FLOOR)) ** 2


def _steady(model: Autoencoder, history: History, whole: Sequence[Piece]) -> None:
    """Set the least variance of baselines: a part of what a stream varies by itself.

    Where streams differ more from each other than each varies, the history's spread is no
    measure of one of them.
    """
    spreads = []
    for piece in whole:
        rows = np.arange(piece.start, min(piece.stop, piece.start + STRETCH))
        u = np.ma.masked_invalid(sensed(model, history, rows).double().numpy())
        spreads.append(u.std(0).filled(0))
    spread = np.median(spreads, axis=0)
    moves = model.moves.index_select(0, model.judged).numpy() > 0
    held = np.where(moves, np.clip(spread, STEADIEST, 1), 1.0)
    _set(model.scoring.shift.least, LEAST_VARIANCE * held[:, None] ** 2)


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
    errors, squares, before = [], np.zeros(3), torch.zeros(0)
    for read, batch in _reads(model, history, pieces, options):
        counts = torch.from_numpy(batch.row >= 0)
        residual = model.residual(read, model.expected(read)).index_select(-1, judged)
        if len(before) != len(batch.fresh):
            before = torch.zeros(len(batch.fresh), surprise.widths[0])
        before[torch.from_numpy(batch.fresh)] = 0
        chunk = []
        for t in range(residual.shape[1]):
            now = surprise.smooth(residual[:, t].clamp(-LIMIT, LIMIT), before)
            before = torch.cat(now[1:], 1)
            chunk.append(torch.stack(now))
        errors.append(torch.stack(chunk, 2)[:, counts])  # [M, N, V]
        off = residual * model.spread.index_select(0, judged)
        z = read.z.index_select(-1, judged)
        counts[:, 0] = False  # its last value is in another batch
        last = torch.cat([z[:, :1], z[:, :-1]], 1)
        for k, values in enumerate((off, z, z - last)):
            squares[k] += float(values[counts].square().clamp(max=CAP).sum())
    every = torch.cat(errors, 1)
    moments = [Moments.of(part.double().numpy()) for part in every]
    _set(surprise.whiten, np.stack([inverse_root(part) for part in moments]))
    usual, deviation = usual_size(surprise.size(list(every)).double().numpy(), 0.0, LEAST_DEVIATION)
    _set(surprise.usual, np.array(usual))
    _set(surprise.deviation, np.array(deviation))
    # Against the mean and against the last value, whichever says more.
    _set(surprise.skill, np.clip(1 - squares[0] / max(squares[1:].min(), FLOOR), 0, 1))


def _set(buffer: Tensor, value: Doubles) -> None:
    buffer.copy_(torch.from_numpy(np.asarray(value)))
