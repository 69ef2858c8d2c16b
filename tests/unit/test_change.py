"""What kind of change a channel shows. One standard deviation is 1."""

import numpy as np
import pytest

from detector.change import Change, change_at_close, change_at_open, deviations
from detector.records import Doubles

NAN = float("nan")
QUIET = [0.1, -0.2, 0.0, 0.3, -0.1, 0.2, -0.3, 0.1]


def column(*channels: list[float]) -> Doubles:
    return np.array(channels, np.float64).T


def opened(before: Doubles, x: list[float], expected: list[float]) -> Change | None:
    seen, wanted = np.array(x), np.array(expected)
    return change_at_open(before, seen, wanted, np.nan_to_num(wanted - seen))


@pytest.mark.parametrize(
    ("before", "x", "kind"),
    [
        (QUIET, 9.0, "jump"),
        (QUIET, -9.0, "jump"),
        ([7.0] * 8, 7.0, "stuck"),
        ([*QUIET[:5], 8.5, 9.1, 8.8], 9.0, "shift"),
        ([8.5, 9.3, 9.1, 8.8], 9.0, "shift"),
        ([0.1, -8.0, 0.2, 8.0, -7.0], 9.0, "noisier"),
        ([*QUIET[:5], 7.0, NAN, 7.1], 7.2, "shift"),
    ],
)
def test_the_kind_at_an_opening(before: list[float], x: float, kind: str) -> None:
    assert opened(column(before), [x], [0.0]) == Change(0, kind)  # type: ignore[arg-type]


def test_a_channel_that_stays_while_another_moves_has_lost_its_correlation() -> None:
    flow, pressure = QUIET, [v + 5 for v in QUIET]
    assert opened(column(flow, pressure), [4.0, 5.0], [0.2, 9.0]) == Change(1, "lost_correlation")
    assert opened(column(flow, pressure), [0.0, 5.0], [0.2, 9.0]) == Change(1, "shift")


@pytest.mark.parametrize(
    ("before", "x", "expected"),
    [
        ([0.0, 0.1, 0.2], 9.0, 0.0),  # too few
        ([0.0, 0.1, 0.2, NAN], 9.0, 0.0),
        (QUIET, NAN, 0.0),
        (QUIET, 0.0, 0.0),  # where it was expected
    ],
)
def test_nothing_is_said_where_nothing_is_known(
    before: list[float], x: float, expected: float
) -> None:
    assert opened(column(before), [x], [expected]) is None


def closed(before: Doubles, began: int, x: list[float]) -> Change | None:
    since = np.arange(len(before)) >= began
    return change_at_close(before, since, np.array(x), np.ones(len(x)))


def test_at_its_close_a_spike_is_back_and_a_shift_stayed() -> None:
    history = column([0.1, 0.0, 0.2, 9.0, 8.0], [5.0] * 5)
    assert closed(history, 3, [0.3, 5.0]) == Change(0, "spike")
    assert closed(history, 3, [8.1, 5.0]) == Change(0, "shift")


def test_at_a_close_nothing_is_said_where_nothing_is_known() -> None:
    history = column([0.1, 0.0, 0.2, 9.0, 8.0])
    assert closed(history, 1, [0.0]) is None  # too little from before it
    assert closed(history, 5, [0.0]) is None  # nothing of it
    assert closed(history, 3, [NAN]) is None
    assert closed(column([0.1, 0.0, 0.2, 1.0, 2.0]), 3, [0.0]) is None  # went nowhere


def test_a_standard_deviation_is_what_the_residual_was_measured_in() -> None:
    x, expected = np.array([1.0, 5.0, NAN, 3.0]), np.array([3.0, 4.0, 0.0, 3.0])
    said = deviations(x, expected, np.array([4.0, -0.5, 0.0, 0.0]))
    assert said.tolist() == [0.5, 2.0, 0.0, 0.0]
