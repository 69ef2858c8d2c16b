"""Judging again says what the daemon would have said."""

from pathlib import Path

import numpy as np
import pytest
from fakes import manifest
from labelled import kinds, tracks_of

from detector.retrial import usable
from training.figures import measure
from training.rejudge import rejudge

RATES = (0.01, 0.1, 300.0, 20_000.0)


@pytest.mark.parametrize("names", [("state",), ("state", "onset", "drift")])
def test_judging_again_is_what_the_daemon_said_at_each_setting(
    tmp_path: Path, names: tuple[str, ...]
) -> None:
    made = manifest(calibration=kinds(*names))
    said = [tracks_of(tmp_path, made, rate=rate) for rate in RATES]
    again = rejudge(made, list(said[0].values()), RATES)
    in_alert = []
    for daemon, alerting in zip(said, again, strict=True):
        for track, own in zip(daemon.values(), alerting, strict=True):
            assert own.shape == (len(track.ts_us), len(names))
            np.testing.assert_array_equal(own, track.alerting)
        in_alert.append(sum(int(own.sum()) for own in alerting))
    assert 0 < in_alert[0] < in_alert[-1]
    assert measure(said[0].values()).found > 0


def test_nothing_to_judge_is_no_error() -> None:
    assert rejudge(manifest(), [], RATES) == [[]] * len(RATES)
    assert rejudge(manifest(), [], []) == []


def test_a_rate_that_every_reading_may_exceed_is_no_setting() -> None:
    # A probability of 1 a reading, two readings a cluster: 86400 / 2 a day.
    assert usable(manifest(), [0.1, 43_199, 43_201]) == [0.1, 43_199]
