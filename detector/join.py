"""Samples to readings: what the tags of a stream last said, when a reading of it is due. Pure.

A stream goes by its own event time alone, and by nothing but its samples in their order: how
polls are cut, and what other streams do, changes no bit of a reading.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from detector.layout import Tagging
from detector.records import Floats, Ints, Readings
from detector.slab import Rows
from detector.state import Arena

NEVER = 0  # microseconds since the epoch: no sample is as old as that


@dataclass(frozen=True, slots=True)
class Joined:
    """What came of some samples.

    Attributes:
        readings: Those that are done; each has the offset of the record that ended it.
        late: Samples not newer than their tag's last, dropped.
        duplicates: How many of these had its very time.
    """

    readings: Readings
    late: int
    duplicates: int


@dataclass(frozen=True, slots=True)
class Samples:
    """Values of one channel each, as columns, in the order they were read.

    Attributes:
        streams: The distinct stream ids, as bytes.
        stream: [N] int64, index into `streams`.
        channel: [N] int64, index into the model's channels.
        ts_us: [N] int64, event time.
        value: [N] float32, engineering units, NaN where it is said to be missing.
        offset: [N] int64, offset of the record that carried the value.
    """

    streams: list[bytes]
    stream: Ints
    channel: Ints
    ts_us: Ints
    value: Floats
    offset: Ints


def new_tags(channels: int) -> Arena:
    """Return an arena for what streams of C = channels keep between their samples."""
    return Arena(tags_width(channels), 0)


def tags_width(channels: int) -> int:
    """Return how many float32 such a row is."""
    return _row(channels).itemsize // 4


def _row(channels: int) -> np.dtype[np.void]:
    """Return what is kept of a stream: a row of float32 that is read as this."""
    return np.dtype(
        [
            ("value", np.float32, (channels,)),  # each tag's last
            ("at_us", np.int64, (channels,)),  # and its event time
            ("told_us", np.int64),  # event time of the last reading
            ("until_us", np.int64),  # when the next one is due; NEVER: nothing new has come
        ]
    )


def join(samples: Samples, tags: Arena, how: Tagging, channels: int) -> Joined:
    """Join samples into readings.

    A reading holds what each tag said last, and is of the time of the newest of these. It ends
    with the first sample of its stream that is of a later period, or too late to be waited for;
    or, where it waits for all channels, with the sample that completes it.

    Args:
        samples: N, in the order of the partition.
        tags: What their streams keep; changes.
        how: When a reading is due, and for how long a value is carried.
        channels: C.
    """
    rows = tags.take(tags.rows(samples.streams))  # [B]
    kept = rows.model.view(_row(channels))[:, 0]
    desk = _Desk(kept, how, channels)
    for n, (s, c, ts_us, value) in enumerate(
        zip(
            samples.stream.tolist(),
            samples.channel.tolist(),
            samples.ts_us.tolist(),
            samples.value.tolist(),
            strict=True,
        )
    ):
        desk.take(n, s, c, ts_us, value)
    desk.keep(kept)
    rows.pace["last_us"] = kept["at_us"].max(axis=1)
    tags.put(Rows(rows.index, rows.model, rows.pace, rows.docket))
    return Joined(desk.readings(samples), desk.late, desk.duplicates)


class _Desk:
    """The streams of some samples, while these are joined: columns as lists, B streams each.

    A sample depends on the one before, so numpy cannot take them at once; a list is read ten
    times as fast as an array, one by one.
    """

    def __init__(self, kept: npt.NDArray[np.void], how: Tagging, channels: int) -> None:
        self.late = self.duplicates = 0
        self._value: list[list[float]] = kept["value"].tolist()
        self._at_us: list[list[int]] = kept["at_us"].tolist()
        self._told_us: list[int] = kept["told_us"].tolist()
        self._until_us: list[int] = kept["until_us"].tolist()
        waiting = kept["at_us"] <= kept["told_us"][:, None]
        self._lacking: list[int] = waiting.sum(axis=1).tolist()
        self._span_us, self._complete, self._carry_us = how.span_us, how.complete, how.carry_us
        self._channels = channels
        # Of E readings: the sample that ended each, its time, since when values count in it,
        # and what the tags said.
        self._by: list[int] = []
        self._ts_us: list[int] = []
        self._since_us: list[int] = []
        self._x: list[list[float]] = []
        self._x_at_us: list[list[int]] = []

    def take(self, n: int, stream: int, channel: int, ts_us: int, value: float) -> None:
        """Take the n-th sample."""
        at_us = self._at_us[stream]
        before_us = at_us[channel]
        if ts_us <= before_us:
            self.late += 1
            self.duplicates += ts_us == before_us
            return
        if self._until_us[stream] != NEVER and ts_us >= self._until_us[stream]:
            self._tell(n, stream)
        at_us[channel] = ts_us
        self._value[stream][channel] = value
        told_us = self._told_us[stream]
        if ts_us <= told_us:  # of a reading that is told: it stands in for what comes next
            return
        if self._until_us[stream] == NEVER:
            begun_us = ts_us if self._complete else ts_us - ts_us % self._span_us
            self._until_us[stream] = begun_us + self._span_us
        if before_us <= told_us:
            self._lacking[stream] -= 1
            if self._complete and not self._lacking[stream]:
                self._tell(n, stream)

    def _tell(self, n: int, stream: int) -> None:
        """End the reading of a stream with the n-th sample."""
        at_us = self._at_us[stream]
        ts_us = max(at_us)
        self._by.append(n)
        self._ts_us.append(ts_us)
        self._since_us.append(min(self._told_us[stream] + 1, ts_us - self._carry_us))
        self._x.append(self._value[stream].copy())
        self._x_at_us.append(at_us.copy())
        self._told_us[stream], self._until_us[stream] = ts_us, NEVER
        self._lacking[stream] = self._channels

    def keep(self, kept: npt.NDArray[np.void]) -> None:
        """Write back what the streams keep, [B]."""
        kept["value"] = np.array(self._value, np.float32).reshape(kept["value"].shape)
        kept["at_us"] = np.array(self._at_us, np.int64).reshape(kept["at_us"].shape)
        kept["told_us"], kept["until_us"] = self._told_us, self._until_us

    def readings(self, samples: Samples) -> Readings:
        """Return the readings that ended; one without any value is none."""
        by: Ints = np.array(self._by, np.int64)
        ts_us: Ints = np.array(self._ts_us, np.int64)
        x = np.array(self._x, np.float32).reshape(len(by), self._channels)
        at_us = np.array(self._x_at_us, np.int64).reshape(x.shape)
        since_us = np.array(self._since_us, np.int64)
        old = (at_us < since_us[:, None]) | (at_us == NEVER)
        x = np.where(old, np.float32(np.nan), x)
        some = ~np.isnan(x).all(axis=1)
        by, ts_us, x = by[some], ts_us[some], x[some]
        used, stream = np.unique(samples.stream[by], return_inverse=True)
        streams = [samples.streams[code] for code in used.tolist()]
        return Readings(streams, stream, ts_us, x, samples.offset[by])
