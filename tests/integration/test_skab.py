"""A real pump's readings: fit on each file's first 400 rows, then 34 files as 34 streams."""

import json
from importlib.resources import files
from pathlib import Path

import pytest
from brokers import Broker
from daemons import Daemon, Topics, reading, until

from detector.files import read_parts
from detector.records import SEVERITIES
from training.config import read_config
from training.data import find_files, mapping
from training.run import Progress, run

pytestmark = pytest.mark.broker


@pytest.fixture(scope="module")
def configured(skab: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("skab")
    (folder / "skab").symlink_to(skab.resolve())
    (folder / "skab.toml").write_bytes((files("training") / "configs/skab.toml").read_bytes())
    run(folder / "skab.toml", folder / "run", Progress())
    return folder


def played(folder: Path) -> list[tuple[bytes, bytes]]:
    """Return all rows of all files as records, in the order of time within each stream."""
    config = read_config(folder / "skab.toml")
    columns, form = mapping(config.data)
    records = []
    for path, stream in find_files(config.data.files, folder):
        for part in read_parts(path, columns, form, stream):
            readings = part.decoded.readings
            rows = zip(readings.ts_us.tolist(), readings.x.tolist(), strict=True)
            records += [(stream.encode(), reading(ts / 1e6, row)) for ts, row in rows]
    return records


def test_skab_through_a_real_broker_raises_alerts_and_commits_to_the_end(
    broker: Broker, configured: Path, tmp_path: Path
) -> None:
    topics = Topics(broker.bootstrap_servers, partitions=4).create()
    records = played(configured)
    assert len({stream for stream, _ in records}) == 34
    # The files are of a month; a stream that is idle for a week is forgotten unless told so.
    month = {"state__ttl_s": 60 * 86_400}
    with Daemon(configured / "run" / "model.onnx", topics, tmp_path, **month) as daemon:
        daemon.ready()
        topics.write(records)
        until(lambda: daemon.metric("detector_records_total") == len(records), "all read", 180)
        until(lambda: daemon.metric("detector_lag_records{") == 0, "no lag")
        opened = sum(
            daemon.metric(f'detector_alerts_total{{kind="state",severity="{s}",status="open"')
            for s in SEVERITIES
        )
        assert daemon.metric("detector_dead_letters_total") == 0
        until(lambda: daemon.metric("detector_streams") == 34, "a row for every stream")
        assert daemon.metric("detector_evicted_streams_total") == 0
        assert daemon.stop() == 0, daemon.said
    assert opened >= 5
    alerts = [json.loads(value) for _, value in topics.read(topics.alerts, int(opened))]
    assert {alert["status"] for alert in alerts} >= {"open", "close"}

    with Daemon(configured / "run" / "model.onnx", topics, tmp_path) as again:
        again.ready()
        until(lambda: again.metric("detector_lag_records{") == 0, "committed to the end")
        assert again.metric("detector_records_total") == 0
