"""What others published on the same data, with where it stands; nothing here was measured by us.

Figures are comparable only as far as the note says: some look ahead, some see a file's range or
the rows that are scored before they score.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from training.benchmark.cases import Case

SKAB_SOURCE = "https://github.com/waico/SKAB README.md at f3d94c4, Proposed Leaderboard"
NAB_SOURCE = "https://github.com/numenta/NAB README.md at 5a98e4f, Scoreboard of v1.1"
MSL_SOURCE = "TSB-AD-M (Liu and Paparrizos, NeurIPS 2024), msl/index.csv of the shared data"
SMD_SOURCE = "reference rows of the shared data's README.md"


@dataclass(frozen=True, slots=True)
class Peer:
    """One method on one benchmark.

    Attributes:
        name: Of the method.
        figures: By the metric's name.
        source: Where they were published.
        note: What makes them hard to compare.
    """

    name: str
    figures: Mapping[str, float]
    source: str
    note: str = ""


def _table(
    source: str, metrics: tuple[str, ...], rows: Mapping[str, tuple[float, ...]], **notes: str
) -> tuple[Peer, ...]:
    """Make a peer of each row; notes are named by the method, with _ for what is no letter."""
    return tuple(
        Peer(
            name,
            dict(zip(metrics, figures, strict=True)),
            source,
            notes.get("".join(c if c.isalnum() else "_" for c in name), ""),
        )
        for name, figures in rows.items()
    )


SKAB = _table(
    SKAB_SOURCE,
    ("f1", "far", "mar", "nab_standard", "nab_low_fp", "nab_low_fn"),
    {
        "Conv-AE": (0.78, 13.55, 28.02, 23.61, 21.54, 27.55),
        "MSET": (0.78, 39.73, 14.13, 13.84, 10.22, 17.37),
        "T-squared+Q": (0.76, 26.62, 24.92, 25.35, 14.51, 31.33),
        "LSTM-AE": (0.74, 29.96, 25.92, 23.51, 20.11, 25.91),
        "T-squared": (0.66, 19.21, 42.6, 19.54, 10.2, 24.31),
        "Vanilla LSTM": (0.54, 12.54, 59.53, 11.31, -3.8, 17.25),
        "Vanilla AE": (0.39, 2.59, 75.15, 11.41, 6.53, 13.91),
        "MSCRED": (0.36, 49.94, 69.88, 32.42, 16.53, 40.28),
        "Isolation forest": (0.29, 2.56, 82.89, 26.16, 19.5, 30.82),
    },
    Conv_AE="looks 58 rows ahead; without them F1 0.71 (the shared data's README.md)",
)

NAB = _table(
    NAB_SOURCE,
    ("standard", "reward_low_FP_rate", "reward_low_FN_rate"),
    {
        "ARTime": (74.9, 65.1, 80.4),
        "Numenta HTM, best seed": (70.5, 62.6, 75.2),
        "CAD OSE": (69.9, 67.0, 73.2),
        "earthgecko Skyline": (58.2, 46.2, 63.9),
        "KNN CAD": (58.0, 43.4, 64.8),
        "Relative Entropy": (54.6, 47.6, 58.8),
        "Random Cut Forest": (51.7, 38.4, 59.7),
        "Twitter ADVec": (47.1, 33.6, 53.5),
        "Windowed Gaussian": (39.6, 20.9, 47.4),
        "Etsy Skyline": (35.7, 27.1, 44.5),
        "Bayesian Changepoint": (17.7, 3.2, 32.2),
        "EXPoSE": (16.4, 3.2, 26.9),
        "Random": (11.0, 1.2, 19.5),
    },
    ARTime="reads a file's least and greatest value first (the shared data's README.md)",
)

SMD = _table(
    SMD_SOURCE,
    ("vus_pr", "average_precision"),
    {
        "causal 1-NN, 40 rows": (0.661, 0.586),
        "causal 1-NN, 5 rows": (0.647, 0.627),
        "PCA-15": (0.537, 0.528),
        "smoothed |z|": (0.477, 0.630),
        "KMeansAD": (0.408, 0.321),
        "random": (0.085, 0.057),
    },
    KMeansAD="fitted on the rows that are scored",
)


def msl(cases: Iterable[Case]) -> tuple[Peer, ...]:
    """Return the plain mean of what was published for each channel, highest first."""
    published = [case.published for case in cases]
    means = {
        name: float(np.mean([figures[name] for figures in published]))
        for name in (published[0] if published else ())
    }
    best_first = sorted(means, key=lambda name: -means[name])
    return tuple(Peer(name, {"vus_pr": means[name]}, MSL_SOURCE) for name in best_first)
