"""Many sequences side by side, in chunks, each lane carrying its state from chunk to chunk."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from detector.records import Bools, Ints
from training.data import History, Piece
from training.model import Autoencoder
from training.told import Carry


class Batch(NamedTuple):
    """One chunk of every lane: L lanes, T readings, C channels.

    Attributes:
        x: [L, T, C] float32; beyond a piece's end its last reading is repeated.
        row: [L, T] int64, the reading's place in the history; -1 where it does not count: in a
            piece's lead, and beyond its end.
        fresh: [L] the lane begins a piece: its state starts at zero.
    """

    x: Tensor
    row: Ints
    fresh: Bools


def cut(pieces: Sequence[Piece], longest: int, lead: int = 0) -> list[Piece]:
    """Cut pieces that are too long to be carried through as one, each with a lead of its own."""
    cuts = []
    for piece in pieces:
        for start in range(piece.start + piece.lead, piece.stop, longest):
            before = max(piece.start, start - max(lead, piece.lead))
            cuts.append(Piece(before, min(start + longest, piece.stop), start - before))
    return cuts


def batches(history: History, pieces: Sequence[Piece], lanes: int, chunk: int) -> Iterator[Batch]:
    """Yield chunks of pieces, `lanes` at a time; a lane that ends a piece takes the next one.

    Each piece appears once, its chunks in order and in one lane. Rows are read as they are
    needed, so that a history larger than memory does no harm.
    """
    waiting = iter(pieces)
    held: list[Piece | None] = [next(waiting, None) for _ in range(lanes)]
    held = [piece for piece in held if piece is not None]
    at = [piece.start if piece else 0 for piece in held]
    fresh = np.ones(len(held), np.bool_)
    while any(held):
        row = np.full((len(held), chunk), -1, np.int64)
        x = np.zeros((len(held), chunk, history.x.shape[1]), np.float32)
        for lane, piece in enumerate(held):
            if piece is None:
                continue
            stop = min(at[lane] + chunk, piece.stop)
            rows = history.rows(at[lane], stop)
            x[lane, : len(rows)], x[lane, len(rows) :] = rows, rows[-1]
            places = np.arange(at[lane], stop)
            row[lane, : len(rows)] = np.where(places < piece.start + piece.lead, -1, places)
            at[lane] = stop
        yield Batch(torch.from_numpy(x), row, fresh.copy())
        for lane, piece in enumerate(held):
            fresh[lane] = piece is not None and at[lane] == piece.stop
            if fresh[lane]:
                held[lane] = following = next(waiting, None)
                at[lane] = following.start if following else 0


def start_fresh(model: Autoencoder, carry: Carry | None, fresh: Bools) -> Carry:
    """Return the carry with a zero state in the lanes that begin a piece, cut from its past."""
    zero = model.fresh(len(fresh))
    if carry is None:
        return zero
    begin = torch.from_numpy(fresh).to(model.mean.device).unsqueeze(1)
    kept = [torch.where(begin, z, before.detach()) for z, before in zip(zero, carry, strict=True)]
    return Carry(*kept)
