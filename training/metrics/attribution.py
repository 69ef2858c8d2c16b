"""Were the right channels named? HitRate@P% (OmniAnomaly: Su et al., KDD 2019)."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from detector.records import Doubles, Floats


class Guilt(NamedTuple):
    """An anomaly and the channels that experts held guilty of it.

    Attributes:
        start: Its first row.
        stop: The row after its last.
        channels: Guilty channels, numbered from 0.
    """

    start: int
    stop: int
    channels: frozenset[int]


def hit_rate(
    contribution: Floats | Doubles, anomalies: Sequence[Guilt], percent: int = 100
) -> float:
    """Return the part of the guilty channels among the first ones named, mean over anomalies.

    An anomaly's channels are ranked once, by their mean contribution over its rows (the paper
    ranks at each reading that was detected; an operator is told once an event). Of G guilty
    channels, those among the first floor(percent * G / 100) are hits; the rate is hits / G.
    Of channels that contribute the same, the lower number comes first.

    Args:
        contribution: [T, C], higher = more to blame.
        anomalies: What is known; none without guilty channels.
        percent: How many may be named, in percent of those that are guilty.

    Raises:
        ValueError: If there is no anomaly, or one without rows or guilty channels.
    """
    if not anomalies or not all(len(a.channels) and a.start < a.stop for a in anomalies):
        msg = "expected anomalies with rows and guilty channels, saw none or an empty one"
        raise ValueError(msg)
    rates = []
    for anomaly in anomalies:
        blame = contribution[anomaly.start : anomaly.stop].mean(axis=0, dtype=np.float64)
        named = np.argsort(-blame, kind="stable")[: percent * len(anomaly.channels) // 100]
        rates.append(len(anomaly.channels & set(named.tolist())) / len(anomaly.channels))
    return float(np.mean(rates))
