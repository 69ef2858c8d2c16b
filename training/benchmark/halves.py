"""Honesty by halves: what was chosen is chosen again on a random half, and told on the other."""

from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np

DRAWS = 20
T = TypeVar("T")
C = TypeVar("C")


def split(items: Sequence[T], draws: int = DRAWS, seed: int = 0) -> list[tuple[list[T], list[T]]]:
    """Return random halves of all items, as often as drawn; the first is the smaller one."""
    random = np.random.default_rng(seed)
    pairs = []
    for _ in range(draws):
        order = random.permutation(len(items)).tolist()
        middle = len(items) // 2
        pairs.append(([items[n] for n in order[:middle]], [items[n] for n in order[middle:]]))
    return pairs


def carried_over(
    items: Sequence[T],
    choose: Callable[[list[T]], C],
    tell: Callable[[list[T], C], dict[str, float]],
    draws: int = DRAWS,
) -> dict[str, list[float]]:
    """Choose on one half and tell figures of the other.

    Args:
        items: Those to be split.
        choose: Makes a choice in view of one half.
        tell: Figures of the other half by that choice.
        draws: How often.

    Returns:
        The figures of all draws by name; a draw with a half that cannot be measured is left out.
    """
    told: dict[str, list[float]] = {}
    for chosen_on, told_on in split(items, draws):
        try:
            figures = tell(told_on, choose(chosen_on))
        except ValueError:  # no window, or no label, in a half of few files
            continue
        for name, value in figures.items():
            told.setdefault(name, []).append(value)
    return told
