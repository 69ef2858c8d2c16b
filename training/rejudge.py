"""The same scores, judged at other settings: what a stricter or laxer threshold would have said."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from detector.artifact import Manifest
from detector.judge import Tick, judge, rules
from detector.records import Bools, Floats, Ints
from detector.retrial import side_by_side
from detector.state import DOCKET


class Scored(Protocol):
    """All that a judge sees of a stream, from its beginning: [T] each, the score [T, K]."""

    @property
    def ts_us(self) -> Ints:
        """Event times."""

    @property
    def score(self) -> Floats:
        """What the model said."""

    @property
    def warm(self) -> Bools:
        """Past warm-up."""

    @property
    def restarted(self) -> Bools:
        """The stream starts afresh."""


def rejudge(
    manifest: Manifest, tracks: Sequence[Scored], rates: Sequence[float]
) -> list[list[Bools]]:
    """Judge scored tracks again, by the daemon's own judge, once for every rate.

    Args:
        manifest: Of the model that scored them.
        tracks: Each [T, K].
        rates: R false alarms a stream and day that are asked for.

    Returns:
        For each rate, for each track: [T, K] an alert of this kind is open.
    """
    if not tracks or not rates:
        return [[] for _ in rates]
    kinds, several = len(manifest.kinds), side_by_side([rules(manifest, rate) for rate in rates])
    longest = np.argsort([-len(track.ts_us) for track in tracks], kind="stable")
    lengths = np.array([len(tracks[i].ts_us) for i in longest])
    first = np.concatenate([[0], np.cumsum(lengths)[:-1]])
    ts_us, warm, restarted, score = (
        np.concatenate([getattr(tracks[i], name) for i in longest])
        for name in ("ts_us", "warm", "restarted", "score")
    )
    seen = _since_start(restarted, first)
    open_now = np.zeros((len(ts_us), kinds * len(rates)), np.bool_)
    docket = np.zeros((len(tracks), kinds * len(rates)), DOCKET)
    nothing = np.zeros((len(tracks), 1), np.float32)
    # A rate is to the judge what a kind of evidence is: one more column. [B, K] -> [B, R K]
    for n in range(int(lengths[0])):
        alive = int(np.searchsorted(-lengths, -n))
        row = first[:alive] + n
        tick = Tick(
            docket[:alive],
            np.tile(score[row], len(rates)),
            ts_us[row],
            row,
            seen[row],
            warm[row],
            restarted[row],
            nothing[:alive],  # only what is open matters here, not how severe it is
        )
        docket[:alive] = judge(tick, several).docket
        open_now[row] = docket[:alive]["open"]
    by_rate = open_now.reshape(len(ts_us), len(rates), kinds)
    said = {int(i): slice(at, at + n) for i, at, n in zip(longest, first, lengths, strict=True)}
    return [[by_rate[said[i], r] for i in range(len(tracks))] for r in range(len(rates))]


def _since_start(restarted: Bools, first: Ints) -> Ints:
    """Return how many readings of its stream were seen, this one included, [N].

    Args:
        restarted: [N] the streams' readings, one stream after the other.
        first: Where each stream begins.
    """
    row, begins = np.arange(len(restarted)), restarted.copy()
    begins[first] = True
    return row - np.maximum.accumulate(np.where(begins, row, 0)) + 1
