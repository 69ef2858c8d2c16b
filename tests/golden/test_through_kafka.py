"""The daemon, fed through Kafka in random polls, says what whole-sequence torch says."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from brokers import Tansu
from daemons import Daemon, Topics, reading, until

from detector.artifact import GOLDEN_TOLERANCE
from detector.records import Doubles, Floats
from training.demo.fleet import drop_some, simulate
from training.run import restore

pytestmark = pytest.mark.broker

STEPS, STREAMS = 10_000, 3
BEGAN_S = 1_760_000_000


def by_torch(run: Path, x: Doubles) -> Floats:
    """Return scores [P, T] of whole sequences [P, T, C]."""
    model, _, _ = restore(run)
    with torch.no_grad():
        said, _ = model.sequence(torch.from_numpy(x).float(), model.fresh(len(x)))
    return said.score[:, :, 0].numpy()


def test_ten_thousand_steps_through_kafka_are_the_sequence(
    tansu: Tansu, small_run: Path, tmp_path: Path
) -> None:
    x = drop_some(simulate(STREAMS, STEPS, seed=11).round(6), seed=12)
    records = [
        (
            b"pump-%d" % p,
            reading(BEGAN_S + t, [None if np.isnan(v) else v for v in x[p, t].tolist()]),
        )
        for t in range(STEPS)
        for p in range(STREAMS)
    ]
    topics = Topics(tansu.bootstrap_servers, partitions=2).create()
    settings = {"output__scores_topic": topics.scores, "kafka__max_poll_records": 700}
    random = np.random.default_rng(13)
    cuts = np.sort(random.integers(0, len(records), 40)).tolist()
    with Daemon(small_run / "model.onnx", topics, tmp_path, **settings) as daemon:
        daemon.ready()
        # Bursts of any size while it polls: where a poll begins and ends is chance.
        for start, stop in zip([0, *cuts], [*cuts, len(records)], strict=True):
            topics.write(records[start:stop])
        until(lambda: daemon.metric("detector_readings_total") == len(records), "all", 120)
        said = topics.read(topics.scores, len(records))
        assert daemon.stop() == 0
    scores: dict[bytes, list[float]] = {}
    for stream, body in said:
        scores.setdefault(stream, []).append(json.loads(body)["score"]["state"])
    stepped = np.array([scores[b"pump-%d" % p] for p in range(STREAMS)])
    assert stepped.shape == (STREAMS, STEPS)
    assert np.abs(stepped - by_torch(small_run, x)).max() < GOLDEN_TOLERANCE
