"""Readers cut small files as the protocols say; baselines see what they may see and no more."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detector.errors import SettingsRejected
from training.benchmark import baselines, peers, sets
from training.benchmark.cases import Case, after


@pytest.fixture
def skab_root(tmp_path: Path) -> Path:
    header = "datetime;Current;Pressure;anomaly;changepoint"
    lines = [f"2020-03-09 10:{r // 60:02}:{r % 60:02};{r};0.5;0.0;0.0" for r in range(403)]
    lines[401] = lines[401].replace("0.0;0.0", "1.0;1.0")
    for group, name in (("valve1", "10"), ("valve1", "9"), ("other", "1")):
        (tmp_path / "skab" / group).mkdir(parents=True, exist_ok=True)
        (tmp_path / "skab" / group / f"{name}.csv").write_text("\n".join([header, *lines]))
    normal = [";".join(line.split(";")[:3]) for line in [header, *lines]]
    (tmp_path / "skab" / "anomaly-free").mkdir()
    (tmp_path / "skab" / "anomaly-free" / "anomaly-free.csv").write_text("\n".join(normal))
    return tmp_path


def test_skab_is_cut_after_400_rows(skab_root: Path) -> None:
    cases = list(sets.skab(skab_root))
    assert [case.name for case in cases] == ["valve1/9", "valve1/10", "other/1"]
    case = cases[0]
    assert case.channels == ("Current", "Pressure")
    assert case.x.dtype == case.train.dtype == np.float32
    np.testing.assert_array_equal(case.x[:, 0], np.arange(403))
    np.testing.assert_array_equal(case.train, case.x[:400])
    assert np.flatnonzero(case.counts).tolist() == [400, 401, 402]
    assert np.flatnonzero(case.label).tolist() == np.flatnonzero(case.changepoint).tolist() == [401]
    assert case.scored_label.tolist() == [False, True, False]
    assert (np.diff(case.ts_us) == 10**6).all()
    assert len(case.history) == 0


def test_skab_without_anomalies_has_no_labels(skab_root: Path) -> None:
    case = sets.skab_normal(skab_root)
    assert case.channels == ("Current", "Pressure")
    assert len(case.train) == 400
    assert not case.label.any()
    assert not case.changepoint.any()


def test_nab_fits_on_its_probation_and_labels_its_windows(tmp_path: Path) -> None:
    data, labels = tmp_path / "nab" / "data" / "real", tmp_path / "nab" / "labels"
    data.mkdir(parents=True)
    labels.mkdir()
    rows = [f"2014-04-01 00:{m:02}:00,{m / 10}" for m in range(27)]
    (data / "a.csv").write_text("\n".join(["timestamp,value", *rows]))
    bounds = [["2014-04-01 00:10:00.000000", "2014-04-01 00:12:00.000000"]]
    (labels / "combined_windows.json").write_text(json.dumps({"real/a.csv": bounds}))
    (case,) = sets.nab(tmp_path)
    assert case.name == "real/a"
    assert len(case.train) == 4  # 15 % of 27, rounded down
    assert np.flatnonzero(case.counts)[0] == 4
    assert case.windows == ((10, 13),)
    assert np.flatnonzero(case.label).tolist() == [10, 11, 12]


def test_msl_has_one_channel_of_telemetry_and_the_peers_figures(tmp_path: Path) -> None:
    (tmp_path / "msl").mkdir()
    head = "channel,tsb_file,rows,train_rows,vus_window,anomalous,published_A,published_B"
    lines = [head, "T-1,x,6,4,9,1,0.5,0.25", "T-2,x,6,5,8,1,0.25,0.75"]
    (tmp_path / "msl" / "index.csv").write_text("\n".join(lines))
    x, label = np.zeros((6, 55), np.float32), np.arange(6) == 5
    for name in ("T-1", "T-2"):
        np.savez(tmp_path / "msl" / f"{name}.npz", x=x, label=label, history=x[:3])
    cases = list(sets.msl(tmp_path))
    assert [(c.name, len(c.train), c.window, len(c.history)) for c in cases] == [
        ("T-1", 4, 9, 3),
        ("T-2", 5, 8, 3),
    ]
    assert cases[0].counts.all()
    assert cases[0].commands == tuple(range(1, 55))
    assert [(peer.name, peer.figures) for peer in peers.msl(cases)] == [
        ("B", {"vus_pr": 0.5}),
        ("A", {"vus_pr": 0.375}),
    ]
    assert peers.msl([]) == ()


def test_smd_numbers_guilty_channels_from_zero(tmp_path: Path) -> None:
    (tmp_path / "smd").mkdir()
    test, label = np.ones((9, 38), np.float32), np.arange(9) > 6
    np.savez(tmp_path / "smd" / "m.npz", train=test[:5], test=test, label=label.astype(np.uint8))
    guilty = {"m": [{"rows": [7, 9], "channels": [1, 38]}]}
    (tmp_path / "smd" / "guilty_channels.json").write_text(json.dumps(guilty))
    (case,) = sets.smd(tmp_path)
    assert (len(case.train), len(case.x), case.window) == (5, 9, 100)
    assert case.guilty == ((7, 9, frozenset({0, 37})),)


@pytest.mark.parametrize("read", [sets.skab, sets.nab, sets.msl, sets.smd])
def test_a_folder_that_is_not_there_is_named(read: object, tmp_path: Path) -> None:
    assert callable(read)
    with pytest.raises(SettingsRejected, match=str(tmp_path)):
        list(read(tmp_path))


def case(rows: int = 700, first: int = 100, channels: int = 2, name: str = "a") -> Case:
    rng = np.random.default_rng(3)
    x = rng.normal(size=(rows, channels)).astype(np.float32)
    nothing = np.zeros(rows, np.bool_)
    names = tuple(f"c{n}" for n in range(channels))
    return Case(
        name=name,
        channels=names,
        train=x[:first],
        x=x,
        ts_us=np.arange(rows),
        label=nothing,
        counts=after(first, rows),
        history=x[:0],
        changepoint=nothing,
    )


def test_arrays_that_do_not_belong_together_are_refused() -> None:
    one = case()
    with pytest.raises(ValueError, match="same rows"):
        Case("a", ("c0",), one.train, one.x, one.ts_us, one.label, one.counts, one.x, one.label)


def test_the_clock_counts_from_the_first_row_that_counts() -> None:
    assert np.flatnonzero(baselines.clock(case())).tolist() == list(range(270, 670))
    assert baselines.ramp(case())[:3].tolist() == [0, 1, 2]
    assert baselines.hump(case(rows=102))[[0, 50, 51, 101]].tolist() == [0, 50, 50, 0]
    assert len(set(baselines.always(case()).tolist())) == 1


def test_chance_is_the_same_for_the_same_stream_and_seed() -> None:
    drawn = [baselines.chance(case(name=name), seed) for name in "ab" for seed in (1, 2)]
    assert len({scores.tobytes() for scores in drawn}) == 4
    assert drawn[0].tobytes() == baselines.chance(case(name="a"), 1).tobytes()


def naive(train: np.ndarray, x: np.ndarray, rows: int) -> list[float]:
    """The distance of each window to all of the training part, one by one."""
    scale = train.std(axis=0)
    scale[scale == 0] = 1
    train, x = train / scale, x / scale
    padded = np.concatenate([x[:1]] * (rows - 1) + [x])
    known = [train[i : i + rows] for i in range(len(train) - rows + 1)]
    return [
        min(float(np.sqrt(((padded[i : i + rows] - one) ** 2).sum())) for one in known)
        for i in range(len(x))
    ]


@given(st.lists(st.tuples(*[st.integers(-3, 3)] * 2), min_size=6, max_size=30), st.integers(1, 4))
def test_nearest_is_the_distance_to_the_most_similar_window(
    drawn: list[tuple[int, int]], rows: int
) -> None:
    x = np.array(drawn, np.float32)
    train = x[: len(x) // 2 + 1]
    told = baselines.nearest(train, x, rows)
    np.testing.assert_allclose(told, naive(train.astype(float), x.astype(float), rows), atol=1e-5)


def test_nearest_is_causal_and_knows_what_it_was_fitted_on() -> None:
    one = case(rows=2500, first=600)
    whole = baselines.nearest(one.train, one.x, 5)
    part = baselines.nearest(one.train, one.x[:1500], 5)
    np.testing.assert_allclose(part, whole[:1500], atol=1e-6)
    assert whole[4:600].max() < 1e-5
    assert np.median(whole[600:]) > 1
    # Other units change nothing.
    other = baselines.nearest(one.train * 40 + 3, one.x * 40 + 3, 5)
    np.testing.assert_allclose(other, whole, atol=1e-3)


def test_the_limit_of_nearest_comes_from_rows_that_were_held_out() -> None:
    one = case(rows=800, first=400)
    limit = baselines.nearest_limit(one.train, 5)
    held = baselines.nearest(one.train[:300], one.train, 5)[300:]
    assert limit == held.max() > 1
    with pytest.raises(ValueError, match="at least the 5 rows"):
        baselines.nearest(one.train[:4], one.x, 5)


def test_every_peer_says_where_it_was_published() -> None:
    for table in (peers.SKAB, peers.NAB, peers.SMD):
        assert len({peer.name for peer in table}) == len(table)
        assert all(peer.source and peer.figures for peer in table)
    assert [peer.name for peer in peers.SKAB + peers.NAB + peers.SMD if peer.note] == [
        "Conv-AE",
        "ARTime",
        "KMeansAD",
    ]
