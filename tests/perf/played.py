"""What the benchmark plays: noise of many streams as JSON, and a model that finds it normal.

The model is as large as a real one and untrained: what its scores are worth changes no figure
here. Its calibration is fitted to the noise, so that only the streams that break down are alerted.
"""

from pathlib import Path

import numpy as np

from detector.records import Chunk, Doubles, Message, Partition

CHANNELS = tuple(f"ch{c}" for c in range(8))
MEAN, SPREAD = 20.0, 2.0
START_S = 1_700_000_000
PROOF = 100  # readings on which torch and onnxruntime must agree
WARM_UP = 5  # readings; short, so that the first alert (and connection) is over before the clock
BROKEN_STREAMS = 5  # one after the other they go far off: their alerts open, and stay open
OFF = 8 * SPREAD
BODIES = 4096  # distinct sets of values among the chunks that are made without Kafka


def export_model(path: Path) -> None:
    """Export an untrained autoencoder, calibrated on noise. Imports torch: a process of its own."""
    import torch  # noqa: PLC0415

    from training.config import Network, Score  # noqa: PLC0415
    from training.export import export  # noqa: PLC0415
    from training.model import Autoencoder  # noqa: PLC0415
    from training.tail import tail  # noqa: PLC0415

    torch.manual_seed(0)
    model = Autoencoder(len(CHANNELS), Network(hidden=48), Score(warm_up=WARM_UP)).eval()
    model.mean.fill_(MEAN)
    model.scale.fill_(SPREAD)
    noise = values(32, 500).astype(np.float32)
    with torch.no_grad():
        said, _ = model.sequence(torch.from_numpy(noise), model.fresh(len(noise)))
    scores = said.score[:, WARM_UP:].numpy().reshape(-1, len(model.scoring.kinds))
    rows = np.arange(len(scores))
    tails = [tail(kind, scores[:, k], rows) for k, kind in enumerate(model.scoring.kinds)]
    about = {
        "name": "bench",
        "channels": [{"name": name} for name in CHANNELS],
        "period_s": 1.0,
        "largest_gap_s": 60.0,
        "warm_up": WARM_UP,
        "calibration": [each.model_dump() for each in tails],
        "training": {},
    }
    # The whole proof takes a minute, and is the tests' business.
    export(model, about, noise[0], path, PROOF)


def values(streams: int, seconds: int) -> Doubles:
    """Return noise, [streams, seconds, C]."""
    shape = (streams, seconds, len(CHANNELS))
    return np.random.default_rng(0).normal(MEAN, SPREAD, shape).round(3)


def messages(topic: str, streams: int, seconds: int) -> list[Message]:
    """Return what the streams say, second by second; some break down, the first soon."""
    x = values(streams, seconds)
    for stream in range(BROKEN_STREAMS):
        x[stream, WARM_UP + stream * seconds // BROKEN_STREAMS :] += OFF
    return [
        Message(topic, stream_id(stream), _json(START_S + second, _body(x[stream, second])))
        for second in range(seconds)
        for stream in range(streams)
    ]


class RoundRobin:
    """Chunks as polls bring them, without a broker: the streams speak in turn, for ever."""

    def __init__(self, streams: int, poll_records: int) -> None:
        self.partition = Partition("played", 0)
        self._streams = streams
        self._records = poll_records
        self._bodies = [_body(row) for row in values(1, BODIES)[0]]
        self._next = 0

    def chunk(self) -> Chunk:
        turns = range(self._next, self._next + self._records)
        self._next = turns.stop
        stamps_s = [START_S + turn // self._streams for turn in turns]
        return Chunk(
            self.partition,
            np.arange(turns.start, turns.stop),
            np.array(stamps_s) * 1_000_000,
            [stream_id(turn % self._streams) for turn in turns],
            [_json(s, self._bodies[t % BODIES]) for s, t in zip(stamps_s, turns, strict=True)],
        )


def stream_id(number: int) -> bytes:
    """Return an id of 16 bytes."""
    return b"device-%09d" % number


def _body(row: Doubles) -> bytes:
    pairs = zip(CHANNELS, row.tolist(), strict=True)
    return b",".join(b'"%b":%b' % (name.encode(), repr(cell).encode()) for name, cell in pairs)


def _json(ts_s: int, body: bytes) -> bytes:
    return b'{"ts":%d,"values":{%b}}' % (ts_s, body)
