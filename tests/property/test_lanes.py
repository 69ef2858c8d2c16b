"""History cut into pieces, and pieces into lanes: every row counts exactly once."""

from itertools import pairwise

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from training.config import Network, Score
from training.data import History, Piece, Report, _sorted
from training.lanes import batches, cut, start_fresh
from training.model import Autoencoder
from training.told import Carry

Runs = list[list[int]]  # of each stream: readings between two gaps
some_runs = st.lists(st.lists(st.integers(1, 30), min_size=1, max_size=4), min_size=1, max_size=4)


def gapped(streams: Runs) -> History:
    """A reading a second, a minute of silence after each run; x is the row's number, from 1."""
    ts = [np.arange(sum(runs)) + 60 * np.repeat(np.arange(len(runs)), runs) for runs in streams]
    stream = np.repeat(np.arange(len(ts)), [len(t) for t in ts])
    x = np.arange(1, len(stream) + 1, dtype=np.float32)[:, np.newaxis]
    return _sorted(
        x, stream, np.concatenate(ts) * 10**6, [str(s) for s in range(len(ts))], Report()
    )


def counted(pieces: list[Piece]) -> list[int]:
    return [row for piece in pieces for row in range(piece.start + piece.lead, piece.stop)]


def test_a_split_is_by_time_and_its_pieces_end_at_gaps_and_streams() -> None:
    split = gapped([[10], [4, 6]]).split((0.5, 0.5), gap_s=10, lead=3)
    told = [[(p.start, p.stop, p.lead) for p in pieces] for pieces in split]
    assert told == [
        [(0, 5, 0), (10, 14, 0), (14, 15, 0)],
        [(2, 10, 3), (14, 20, 1)],  # the lead begins at the gap, not before it
    ]


@given(
    some_runs,
    st.sampled_from([(1.0,), (0.6, 0.15, 0.25), (0.01, 0.98, 0.01), (0.3, 0.3, 0.3, 0.1)]),
    st.integers(0, 20),
)
@settings(deadline=None)
def test_shares_cover_each_row_once_and_leads_cross_nothing(
    streams: Runs, shares: tuple[float, ...], lead: int
) -> None:
    history = gapped(streams)
    pieces = [p for share in history.split(shares, gap_s=10, lead=lead) for p in share]
    assert sorted(counted(pieces)) == list(range(len(history.order)))
    edges = np.cumsum([0, *(n for runs in streams for n in runs)])
    for piece in pieces:
        begin = edges[np.searchsorted(edges, piece.start, "right") - 1]
        assert piece.stop <= edges[np.searchsorted(edges, piece.start, "right")]
        # As much of a lead as there is; none where a run begins within its share.
        assert piece.lead in (0, min(lead, piece.start + piece.lead - begin))
        assert piece.lead or not lead or piece.start == begin


def test_shares_that_add_up_but_for_rounding_keep_to_their_stream() -> None:
    split = gapped([[2_000_000], [2_000_000]]).split((0.3333335,) * 3, gap_s=10, lead=0)
    assert [piece.stop for piece in split[-1]] == [2_000_000, 4_000_000]


some_pieces = st.lists(st.tuples(st.integers(1, 40), st.integers(0, 9)), min_size=1, max_size=12)


def one_after_another(sizes: list[tuple[int, int]]) -> list[Piece]:
    edges = pairwise(np.cumsum([0, *(length for length, _ in sizes)]).tolist())
    leads = (min(lead, length - 1) for length, lead in sizes)
    return [Piece(start, stop, lead) for (start, stop), lead in zip(edges, leads, strict=True)]


@given(some_pieces, st.integers(1, 20), st.integers(0, 20))
@settings(deadline=None)
def test_cuts_cover_each_row_once_and_leads_do_not_count(
    sizes: list[tuple[int, int]], longest: int, lead: int
) -> None:
    pieces = one_after_another(sizes)
    cuts = cut(pieces, longest, lead)
    assert counted(cuts) == counted(pieces)
    whole = {row: piece for piece in pieces for row in range(piece.start, piece.stop)}
    for part in cuts:
        piece, begin = whole[part.start], part.start + part.lead
        assert 0 < len(part) - part.lead <= longest
        assert part.stop <= piece.stop
        assert part.lead == min(max(lead, piece.lead), begin - piece.start)


@given(some_pieces, st.integers(1, 6), st.integers(1, 15))
@settings(deadline=None)
def test_a_lane_reads_one_piece_after_another_and_says_where_each_begins(
    sizes: list[tuple[int, int]], lanes: int, chunk: int
) -> None:
    pieces = one_after_another(sizes)
    piece_at = {piece.start: piece for piece in pieces}
    held: dict[int, tuple[Piece, int]] = {}  # of each lane: its piece, and the row to come
    begun, rows = [], []
    for batch in batches(gapped([[sum(n for n, _ in sizes)]]), pieces, lanes, chunk):
        for lane, (x, row) in enumerate(zip(batch.x[:, :, 0].numpy(), batch.row, strict=True)):
            if not x.any():  # nothing is left for this lane
                assert (row == -1).all()
                continue
            first = int(x[0]) - 1
            piece, expected = held.get(lane, (piece_at.get(first), first))
            if expected == piece.stop:
                piece, expected = piece_at[first], first
            assert first == expected
            assert batch.fresh[lane] == (first == piece.start)
            begun += [first] * bool(batch.fresh[lane])
            places = first + np.arange(chunk)
            np.testing.assert_array_equal(x, np.minimum(places, piece.stop - 1) + 1)
            counts = (places >= piece.start + piece.lead) & (places < piece.stop)
            np.testing.assert_array_equal(row, np.where(counts, places, -1))
            rows += row[row >= 0].tolist()
            held[lane] = piece, min(first + chunk, piece.stop)
    assert sorted(begun) == [piece.start for piece in pieces]
    assert sorted(rows) == counted(pieces)


def test_a_lane_that_begins_a_piece_carries_nothing_into_it() -> None:
    model = Autoencoder(2, Network(hidden=3, bottleneck=1, window=2), Score(windows=4, levels=3))
    carry = Carry(*(torch.randn_like(part, requires_grad=True) for part in model.fresh(3)))
    for before, after in zip(
        carry, start_fresh(model, carry, np.array([False, True, False])), strict=True
    ):
        assert not after.requires_grad
        assert not after[1].any()
        assert torch.equal(after[::2], before[::2])
