"""Figures from tracks made by hand, and tracks from labelled files."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from small_model import write_fleet

from detector.model import load
from training.config import Config, Evaluate, read_config
from training.evaluate import Track, evaluate
from training.figures import measure

DAY_US = 86_400 * 10**6
Rows = list[dict[str, object]]


def track(alerting: str, label: str, counts: str = "", period_us: int = DAY_US // 10) -> Track:
    """A character a reading: 1 where it is so."""
    flags = [np.array([c == "1" for c in text]) for text in (alerting, label, counts or "1" * 99)]
    ts_us = 10**15 + np.arange(len(alerting)) * period_us
    nothing = np.zeros((len(alerting), 1), np.float32)
    restarted = np.arange(len(alerting)) == 0
    return Track(
        ts_us=ts_us, x=nothing, expected=nothing, residual=nothing, score=nothing,
        probability=nothing.astype(np.float64), alerting=flags[0][:, None], warm=~restarted,
        restarted=restarted, label=flags[1], counts=flags[2][: len(alerting)],
    )  # fmt: skip


def test_each_reading_is_counted_by_alert_and_label() -> None:
    told = measure([track("0110011010", "0011000000"), track("00000", "00110")])
    assert (told.readings, told.anomalous) == (15, 4)
    hits, false, missed = 1, 4, 3
    assert told.f1 == pytest.approx(2 * hits / (2 * hits + false + missed))
    assert told.far == pytest.approx(4 / 11)
    assert told.mar == pytest.approx(3 / 4)
    assert told.precision == pytest.approx(hits / (hits + false))
    assert told.recall == pytest.approx(hits / (hits + missed))


def test_events_are_stretches_and_their_delay_is_to_the_first_reading_in_alert() -> None:
    tracks = [
        track("0000110000000001", "0011110001110011", period_us=10**6),
        track("1111", "0111", period_us=7 * 10**6),
    ]
    told = measure(tracks)
    assert (told.events, told.found) == (4, 3)
    assert told.delay_s == 1  # the median of 2, 1 and 0
    assert measure([track("0000", "0110")]).found == 0
    assert math.isnan(measure([track("0000", "0110")]).delay_s)


def test_false_alarms_are_openings_on_normal_readings_a_stream_and_day() -> None:
    # Ten periods are a day; an alert that opened on a labelled reading is not false.
    told = measure([track("01100010110", "00000000110"), track("00000000000", "00000000000")])
    assert (told.opened, told.normal_days) == (2, pytest.approx(1.8))
    assert told.false_a_day == pytest.approx(2 / 1.8)


def test_a_gap_is_no_time_in_which_an_alert_could_have_opened() -> None:
    whole = track("00000000000", "00000000000")
    whole.restarted[4] = True
    assert measure([whole]).normal_days == pytest.approx(0.9)


def test_an_alert_of_any_kind_is_an_alert() -> None:
    two = replace(
        track("0110000", "0111110"),
        alerting=np.array([[0, 1, 1, 0, 0, 0, 0], [0, 0, 0, 1, 1, 0, 0]]).T > 0,
    )
    told = measure([two])
    assert (told.recall, told.precision, told.opened) == (4 / 5, 1, 0)


def test_readings_that_do_not_count_do_not() -> None:
    told = measure([track("1110010", "1010010", counts="0001111"), track("11", "00", counts="00")])
    assert (told.readings, told.anomalous, told.f1, told.far) == (4, 1, 1.0, 0.0)
    assert measure([]).readings == 0
    assert len(told.lines()) == 13


@pytest.fixture(scope="module")
def config(small_run: Path) -> Config:
    return read_config(small_run / "config.toml")


@pytest.fixture(scope="module")
def pumps(tmp_path_factory: pytest.TempPathFactory) -> Rows:
    """Rows of two pumps; the second one's pressure sensor is broken for a while."""
    path = tmp_path_factory.mktemp("pumps") / "pumps.parquet"
    write_fleet(path, pumps=2, seconds=200, seed=5)
    rows: Rows = pq.read_table(path).to_pylist()
    for row in rows:
        row["anomaly"] = 0
    for row in rows[300:340]:
        row.update(anomaly=1, pressure=500.0)
    return rows


def write(path: Path, rows: Rows) -> None:
    lines = [",".join("" if cell is None else str(cell) for cell in row.values()) for row in rows]
    path.write_text("\n".join([",".join(rows[0]), *lines]))


def tracks(
    config: Config, model: Path, root: Path, *files: str, **entries: object
) -> dict[str, Track]:
    settings = Evaluate.model_validate({"files": files} | entries)
    return evaluate(load(model), config, settings, root)


def test_each_stream_has_a_track_and_the_label_is_not_looked_at(
    config: Config, small_model: Path, pumps: Rows, tmp_path: Path
) -> None:
    write(tmp_path / "a.csv", pumps)
    write(tmp_path / "b.csv", [row | {"anomaly": 7 * (i % 2)} for i, row in enumerate(pumps)])
    one = tracks(config, small_model, tmp_path, "a.csv", skip_rows=50)
    other = tracks(config, small_model, tmp_path, "b.csv")
    assert list(one) == list(other) == ["pump-0", "pump-1"]
    for name in one:
        assert one[name].score.tobytes() == other[name].score.tobytes()
        assert (np.diff(one[name].ts_us) == 10**6).all()
        assert one[name].counts.tolist() == [False] * 50 + [True] * 150
        assert other[name].label.tolist() == [False, True] * 100
    broken = one["pump-1"]
    assert np.flatnonzero(broken.label).tolist() == list(range(100, 140))
    assert broken.alerting[115:140, 0].all()
    assert broken.probability[101:140, 0].max() < broken.probability[50:100, 0].min()
    assert (broken.x[100:140, 2] == 500).all()
    assert (broken.expected[110:140, 2] < 500).all()
    assert (np.abs(broken.residual[110:140]).argmax(1) == 2).mean() > 0.9
    assert broken.x.dtype == broken.expected.dtype == broken.residual.dtype == np.float32
    assert broken.warm.tolist() == [False] * 20 + [True] * 180
    assert np.flatnonzero(broken.restarted).tolist() == [0]
    assert not one["pump-0"].label.any()


@pytest.mark.parametrize("label", [1, 2.5, -1])
def test_any_label_but_zero_says_that_something_is_wrong(
    config: Config, small_model: Path, pumps: Rows, tmp_path: Path, label: float
) -> None:
    write(
        tmp_path / "a.csv",
        [row | {"anomaly": (label, 0, None)[i % 3]} for i, row in enumerate(pumps)],
    )
    seen = tracks(config, small_model, tmp_path, "a.csv")["pump-0"].label
    assert seen.tolist() == [i % 3 == 0 for i in range(200)]


def test_a_row_without_values_is_not_scored_as_in_the_daemon(
    config: Config, small_model: Path, pumps: Rows, tmp_path: Path
) -> None:
    nothing: dict[str, object] = dict.fromkeys(c.name for c in config.data.channels)
    write(tmp_path / "a.csv", [row | nothing if i == 20 else row for i, row in enumerate(pumps)])
    seen = tracks(config, small_model, tmp_path, "a.csv")
    assert [len(track.ts_us) for track in seen.values()] == [199, 200]


def test_a_stream_in_several_files_is_one_track(
    config: Config, small_model: Path, pumps: Rows, tmp_path: Path
) -> None:
    first = [row for i, row in enumerate(pumps) if i % 200 < 120]
    second = [row for i, row in enumerate(pumps) if i % 200 >= 120]
    write(tmp_path / "1.csv", first)
    write(tmp_path / "2.csv", second)
    seen = tracks(config, small_model, tmp_path, "*.csv")
    assert {name: len(track.ts_us) for name, track in seen.items()} == {
        "pump-0": 200,
        "pump-1": 200,
    }
    assert np.flatnonzero(seen["pump-1"].label).tolist() == list(range(100, 140))
