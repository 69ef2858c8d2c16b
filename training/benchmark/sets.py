"""The benchmarks' files, read as their protocols say; the only module here that reads files."""

import csv
import json
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from detector.errors import SettingsRejected
from detector.records import Floats, Ints
from training.benchmark.cases import Case, after
from training.metrics import nab as nab_metric
from training.metrics.attribution import Guilt

SKAB_TRAIN_ROWS = 400  # of each file; the leaderboard's protocol
SKAB_GROUPS = ("valve1", "valve2", "other")
SKAB_NORMAL = "anomaly-free"
SMD_WINDOW = 100  # rows of VUS
MINUTE_US = 60_000_000


def skab(root: Path) -> Iterator[Case]:
    """Yield the 34 files of SKAB v0.9 (Katser and Kozitsin, 2020).

    Args:
        root: The folder that holds `skab/`.

    Raises:
        SettingsRejected: If the files are not there.
    """
    folder = _folder(root, "skab")
    for group in SKAB_GROUPS:
        for path in sorted((folder / group).glob("*.csv"), key=lambda p: int(p.stem)):
            yield _skab_file(path, f"{group}/{path.stem}")


def skab_normal(root: Path) -> Case:
    """Return SKAB's file without anomalies, cut as the others are: all alarms in it are false.

    Raises:
        SettingsRejected: If the file is not there.
    """
    path = _folder(root, "skab") / SKAB_NORMAL / f"{SKAB_NORMAL}.csv"
    return _skab_file(path, SKAB_NORMAL)


def nab(root: Path) -> Iterator[Case]:
    """Yield the 58 files of NAB v1.1 (Lavin and Ahmad, 2015); what is probation is to fit on.

    Raises:
        SettingsRejected: If the files are not there.
    """
    folder = _folder(root, "nab")
    windows = json.loads((folder / "labels" / "combined_windows.json").read_text())
    for file, bounds in windows.items():
        with (folder / "data" / file).open(newline="") as lines:
            rows = list(csv.reader(lines))[1:]
        ts_us = _ts_us([row[0] for row in rows])
        x = np.array([[float(row[1])] for row in rows], np.float32)
        limits = [_ts_us(pair).tolist() for pair in bounds]
        inside = nab_metric.window_rows(ts_us, [(begin, end) for begin, end in limits])
        label = np.zeros(len(x), np.bool_)
        for start, stop in inside:
            label[start:stop] = True
        probation = nab_metric.probation(len(x))
        yield Case(
            name=file.removesuffix(".csv"),
            channels=("value",),
            train=x[:probation],
            x=x,
            ts_us=ts_us,
            label=label,
            counts=after(probation, len(x)),
            history=x[:0],
            changepoint=np.zeros(len(x), np.bool_),
            windows=tuple(inside),
        )


def msl(root: Path) -> Iterator[Case]:
    """Yield the 14 channels of MSL (Hundman et al., KDD 2018) as TSB-AD-M cuts them.

    Column 0 is telemetry, the others are commands as ones and zeros; upstream has scaled all of
    it by the test part's least and greatest value. Every row is scored, those to fit on too.

    Raises:
        SettingsRejected: If the files are not there.
    """
    folder = _folder(root, "msl")
    with (folder / "index.csv").open(newline="") as lines:
        index = list(csv.DictReader(lines))
    for entry in index:
        with np.load(folder / f"{entry['channel']}.npz") as file:
            x, history = file["x"], file["history"]
            label = file["label"].astype(np.bool_)
        mark = "published_"
        yield Case(
            name=entry["channel"],
            channels=(entry["channel"], *(f"command-{n}" for n in range(1, x.shape[1]))),
            train=x[: int(entry["train_rows"])],
            x=x,
            ts_us=_minutes(x),
            label=label,
            counts=after(0, len(x)),
            history=history,
            changepoint=np.zeros(len(x), np.bool_),
            window=int(entry["vus_window"]),
            commands=tuple(range(1, x.shape[1])),
            published={
                key.removeprefix(mark): float(value)
                for key, value in entry.items()
                if key.startswith(mark)
            },
        )


def smd(root: Path) -> Iterator[Case]:
    """Yield three machines of the Server Machine Dataset (Su et al., KDD 2019).

    What is to fit on is a stream of its own; every row of the other one is scored.

    Raises:
        SettingsRejected: If the files are not there.
    """
    folder = _folder(root, "smd")
    guilty = json.loads((folder / "guilty_channels.json").read_text())
    for name, anomalies in guilty.items():
        with np.load(folder / f"{name}.npz") as file:
            train, x, label = file["train"], file["test"], file["label"].astype(np.bool_)
        yield Case(
            name=name,
            channels=tuple(f"channel-{n + 1}" for n in range(x.shape[1])),
            train=train,
            x=x,
            ts_us=_minutes(x),
            label=label,
            counts=after(0, len(x)),
            history=x[:0],
            changepoint=np.zeros(len(x), np.bool_),
            window=SMD_WINDOW,
            guilty=tuple(_guilt(anomaly) for anomaly in anomalies),
        )


def _skab_file(path: Path, name: str) -> Case:
    with path.open(newline="") as lines:
        header, *rows = csv.reader(lines, delimiter=";")
    columns = {title: number for number, title in enumerate(header)}
    flags = {}
    for title in ("anomaly", "changepoint"):
        number = columns.pop(title, None)
        told = [number is not None and float(row[number]) != 0 for row in rows]
        flags[title] = np.array(told, np.bool_)
    stamp = columns.pop("datetime")
    x = np.array([[float(row[n]) for n in columns.values()] for row in rows], np.float32)
    return Case(
        name=name,
        channels=tuple(columns),
        train=x[:SKAB_TRAIN_ROWS],
        x=x,
        ts_us=_ts_us([row[stamp] for row in rows]),
        label=flags["anomaly"],
        counts=after(SKAB_TRAIN_ROWS, len(x)),
        history=x[:0],
        changepoint=flags["changepoint"],
    )


def _guilt(anomaly: Mapping[str, list[int]]) -> Guilt:
    """Number the channels from 0; the file begins with 1."""
    start, stop = anomaly["rows"]
    return Guilt(start, stop, frozenset(number - 1 for number in anomaly["channels"]))


def _ts_us(times: list[str]) -> Ints:
    """Return times that name no zone as microseconds, as if they were UTC."""
    return np.array(times, "datetime64[us]").astype(np.int64)


def _minutes(x: Floats) -> Ints:
    return np.arange(len(x), dtype=np.int64) * MINUTE_US


def _folder(root: Path, name: str) -> Path:
    folder = root / name
    if not folder.is_dir():
        msg = f"expected the benchmark's files in {folder}, saw no such folder; name its parent"
        raise SettingsRejected(msg)
    return folder
