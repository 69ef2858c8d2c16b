"""What kind of change a channel shows, as far as its last readings tell. Pure.

Axes: N readings before this one, C channels.
"""

from typing import Literal, NamedTuple

import numpy as np

from detector.records import Bools, Doubles

Kind = Literal["stuck", "jump", "spike", "shift", "noisier", "lost_correlation"]

FEWEST = 4  # readings before an opening, or nothing is said of it
FEWEST_AT_CLOSE = 2  # before the alert began
FAR = 0.5  # of a distance: what went as far went the same way
MOVED = 3.0  # standard deviations: a channel went elsewhere


class Change(NamedTuple):
    """A channel's number, and what happened to it."""

    channel: int
    kind: Kind


def change_at_open(
    before: Doubles, x: Doubles, expected: Doubles, residual: Doubles
) -> Change | None:
    """Return how the channel that stands out most came to where an opening sees it.

    Args:
        before: [N, C] the stream's last readings, oldest first; NaN where a channel was missing.
        x: [C] the reading that opens.
        expected: [C] what the model held to be normal.
        residual: [C] in standard deviations.

    Returns:
        stuck: the same value again and again. jump: this reading alone is out there. noisier:
        others were as far out, on both sides. lost_correlation: it stayed where it was while
        another channel moved, and with it what was expected of this one. shift: it is on a new
        level. None where there are too few readings.

    >>> before = np.array([[1.0], [1.1], [0.9], [1.0]])
    >>> change_at_open(before, np.array([5.0]), np.array([1.0]), np.array([-40.0]))
    Change(channel=0, kind='jump')
    """
    c = int(np.argmax(np.abs(residual)))
    value, away = x[c], x[c] - expected[c]
    known = before[~np.isnan(before[:, c]), c]
    if len(known) < FEWEST or np.isnan(value) or away == 0:
        return None
    if (known == value).all():
        return Change(c, "stuck")
    out = (known - expected[c]) / away
    if (out < -FAR).any():
        return Change(c, "noisier")
    if not (out > FAR).any():
        return Change(c, "jump")
    others = _moved(before, x, expected, residual)
    if (out > FAR).all() and others.any() and not others[c]:
        return Change(c, "lost_correlation")
    return Change(c, "shift")


def change_at_close(before: Doubles, began: Bools, x: Doubles, deviation: Doubles) -> Change | None:
    """Return how the channel that went furthest came to where a close sees it.

    Args:
        before: [N, C] the stream's last readings, oldest first; NaN where a channel was missing.
        began: [N] which of them belong to the alert.
        x: [C] the reading that closes.
        deviation: [C] one standard deviation, engineering units.

    Returns:
        spike: it is back where it was. shift: it stays where it went. None where the alert is
        older than the readings, or no channel went far.
    """
    if np.count_nonzero(~began) < FEWEST_AT_CLOSE or not began.any():
        return None
    whole = ~np.isnan(np.vstack([before, x])).any(axis=0) & (deviation > 0)
    if not whole.any():
        return None
    usual = np.median(before[~began], axis=0)
    went = np.where(whole, np.abs(before[began] - usual).max(axis=0), 0.0)
    far = went / np.where(whole, deviation, 1.0)
    c = int(np.argmax(far))
    if far[c] <= MOVED:
        return None
    return Change(c, "spike" if abs(x[c] - usual[c]) < FAR * went[c] else "shift")


def deviations(x: Doubles, expected: Doubles, residual: Doubles) -> Doubles:
    """Return one standard deviation of each channel, engineering units; 0 where it is not known."""
    known = (residual != 0) & ~np.isnan(x)
    return np.where(known, np.abs(expected - x) / np.where(known, np.abs(residual), 1.0), 0.0)


def _moved(before: Doubles, x: Doubles, expected: Doubles, residual: Doubles) -> Bools:
    """Return which channels left where they were, [C]."""
    usual = np.median(before, axis=0)  # NaN where one is missing: not moved
    deviation = deviations(x, expected, residual)
    return np.asarray((deviation > 0) & (np.abs(x - usual) > MOVED * deviation))
