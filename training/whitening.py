"""How vectors vary together, and what makes all directions alike. Axes: N vectors, V numbers."""

from typing import NamedTuple, Self

import numpy as np

from detector.records import Doubles

FLOOR = 0.02  # standardised units; what never varies is not worth infinitely much
CAP = 100.0  # squared standard deviations; a wild reading is no measure of skill
INDEPENDENT = 20  # vectors that tell as much as an independent one
NORMAL_90 = 1.2816  # deviations that a tenth of a normal distribution exceeds


class Moments(NamedTuple):
    """Sums over vectors about 0: how many, of their products [V, V], of their fourth powers."""

    number: int
    products: Doubles
    fourth: float

    @classmethod
    def of(cls, x: Doubles) -> Self:
        """Return the moments of vectors, [N, V]."""
        return cls(len(x), x.T @ x, float(((x**2).sum(1) ** 2).sum()))

    def plus(self, other: Self) -> Self:
        """Return the moments of both."""
        return type(self)(
            self.number + other.number, self.products + other.products, self.fourth + other.fourth
        )


def inverse_root(moments: Moments) -> Doubles:
    """Return what whitens such vectors, [V, V].

    Their second moment is shrunk towards a multiple of the identity: Ledoit and Wolf, "A
    well-conditioned estimator for large-dimensional covariance matrices" (2004).
    """
    count = max(moments.number, 1)
    seen = moments.products / count
    size = len(seen)
    level = np.trace(seen) / size
    distance = ((seen - level * np.eye(size)) ** 2).sum()
    noise = (moments.fourth / count - (seen**2).sum()) / max(count / INDEPENDENT, 1.0)
    share = float(np.clip(noise / max(distance, FLOOR**4), 0.01, 1))
    kept = share * max(level, FLOOR**2) * np.eye(size) + (1 - share) * seen
    values, vectors = np.linalg.eigh(kept)
    return np.asarray((vectors / np.sqrt(np.maximum(values, FLOOR**2))).T)


def usual_size(sizes: Doubles, least: float, least_deviation: float) -> tuple[float, float]:
    """Return the median of sizes, [N], and by how much they exceed it, as a deviation."""
    usual, high = np.quantile(sizes, [0.5, 0.9])
    usual = max(float(usual), least)
    return usual, max((float(high) - usual) / NORMAL_90, least_deviation)
