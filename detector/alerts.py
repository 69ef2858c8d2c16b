"""Transitions of alerts into what is said of them. Pure."""

from dataclasses import dataclass, replace
from math import isnan

import numpy as np

from detector.artifact import Manifest
from detector.change import Change, change_at_close, change_at_open, deviations
from detector.judge import Verdicts
from detector.records import (
    SEVERITIES,
    SILENT,
    Alert,
    Bools,
    ChannelChange,
    ChannelValue,
    Doubles,
    Earlier,
    Floats,
    Ints,
    Partition,
    Readings,
    Status,
    alert_id,
)
from detector.ring import Before
from detector.score import Scored
from detector.silence import Turn
from detector.state import Arena, Docket


@dataclass(frozen=True, slots=True)
class Teller:
    """Puts the verdicts of some readings' ticks into words.

    Attributes:
        manifest: Of the model.
        arena: Of the partition; asked before it takes what the tick leaves behind.
        partition: Where the readings come from.
        readings: N of them.
        row: [N] of their streams in the arena.
    """

    manifest: Manifest
    arena: Arena
    partition: Partition
    readings: Readings
    row: Ints

    def tell(
        self, now: Scored, before: Docket, verdicts: Verdicts, open_level: Floats
    ) -> list[tuple[int, Alert]]:
        """Return what a tick's transitions say, each with the index of its reading.

        Args:
            now: The tick, as it was scored.
            before: [B, K] what the judge remembered.
            verdicts: Its verdicts; an `adopted` id that closes is taken from the arena.
            open_level: [K], or [B, K] where streams have their own, that they judged by.
        """
        said: list[tuple[int, Alert]] = []
        if verdicts.docket is before:  # nothing changed
            return said
        threshold = np.broadcast_to(open_level, verdicts.opened.shape)
        transitions: tuple[tuple[Status, Bools], ...] = (
            ("close", verdicts.closed),
            ("open", verdicts.opened),
            ("update", verdicts.escalated),
        )
        for status, where in transitions:
            if where.any():
                docket = before if status == "close" else verdicts.docket
                for b, k in np.argwhere(where).tolist():
                    alert = self._alert(now, docket, threshold, status, b, k)
                    said.append((int(now.reading[b]), self._explained(alert, now, b)))
        return said

    def tell_silence(self, turns: list[Turn]) -> list[tuple[int, Alert]]:
        """Return what is said of streams that fell silent, or speak again."""
        return [(turn.reading, self._silent(turn)) for turn in turns]

    def _silent(self, turn: Turn) -> Alert:
        manifest, stream = self.manifest, self.arena.stream(turn.row)
        return Alert(
            id=alert_id(self.partition, stream, SILENT, "", turn.heard_us, 0),  # of no model
            stream=stream.decode(),
            status="open" if turn.opens else "close",
            kind=SILENT,
            severity="warning",
            opened_us=turn.heard_us,
            at_us=turn.at_us,
            score=turn.idle_s,
            probability=None,
            threshold=turn.bound_s,
            channels=(),
            peak=turn.idle_s,
            cause="gone" if turn.gone else "normal",
            model=manifest.name,
            version=manifest.version,
            partition=self.partition,
            offset=int(self.readings.offset[turn.reading]),
        )

    def _alert(
        self, now: Scored, docket: Docket, threshold: Floats, status: Status, b: int, k: int
    ) -> Alert:
        manifest, reading, memory = self.manifest, int(now.reading[b]), docket[b, k]
        stream = self.readings.streams[int(self.readings.stream[reading])]
        calibration, score = manifest.calibration[k], float(now.step.score[b, k])
        since, offset = int(memory["since_us"]), int(memory["since_offset"])
        own = alert_id(self.partition, stream, calibration.kind, manifest.version, since, offset)
        ended, whose = status == "close", (stream, k)
        adopted = None if status == "open" else self.arena.adopted.get(whose)
        if ended:
            self.arena.adopted.pop(whose, None)
        return Alert(
            id=adopted or own,
            stream=stream.decode(),
            status=status,
            kind=calibration.kind,
            severity=SEVERITIES[memory["severity"]],
            opened_us=since,
            at_us=int(now.ts_us[b]),
            score=score,
            probability=float(calibration.probability(np.array(score))),
            threshold=float(threshold[b, k]),
            channels=self._channels(self._judged(now, b), now, b),
            peak=float(memory["peak"]),
            cause="gap" if ended and now.restarted[b] else "normal",
            model=manifest.name,
            version=manifest.version,
            partition=self.partition,
            offset=int(self.readings.offset[reading]),
        )

    def _channels(self, x: Floats, now: Scored, b: int) -> tuple[ChannelValue, ...]:
        expected, residual = now.step.expected[b], now.step.residual[b]
        weight = residual.astype(np.float64) ** 2
        share = weight / max(weight.sum(), np.finfo(np.float64).tiny)
        channels = self.manifest.channels
        return tuple(
            ChannelValue(
                channels[c].name,
                channels[c].unit,
                None if np.isnan(x[c]) else float(x[c]),
                float(expected[c]),
                float(residual[c]),
                float(share[c]),
            )
            for c in np.argsort(-share, kind="stable").tolist()
        )

    def _explained(self, alert: Alert, now: Scored, b: int) -> Alert:
        """Add what the stream's last readings tell."""
        if not self.arena.ring.depth or alert.status == "update" or alert.cause == "gap":
            return alert
        before = self._before(now, b)
        earlier = before.until(self.manifest.delay)
        x, expected, residual = (
            np.asarray(column, np.float64)
            for column in (self._judged(now, b), now.step.expected[b], now.step.residual[b])
        )
        residual[self._symbols()] = 0  # a code is no quantity
        if alert.status == "close":
            began = earlier.at_us >= alert.opened_us
            change = change_at_close(earlier.x, began, x, deviations(x, expected, residual))
            return replace(alert, change=self._named(change))
        leads = self.manifest.channels[int(np.argmax(np.abs(now.step.residual[b])))]
        change = change_at_open(earlier.x, x, expected, residual) if leads.role != "event" else None
        return replace(alert, change=self._named(change), before=self._earlier(before))

    def _judged(self, now: Scored, b: int) -> Floats:
        """Return the reading that a score is of, [C].

        It is the newest one; where the model looks at what comes after, that of `delay` ago, NaN
        where the ring does not reach so far back.
        """
        delay = self.manifest.delay
        if not delay:
            return np.asarray(self.readings.x[int(now.reading[b])])
        kept = self._before(now, b).x[-delay:]
        if len(kept) < delay:
            return np.full(len(self.manifest.channels), np.nan, np.float32)
        return np.asarray(kept[0], np.float32)

    def _before(self, now: Scored, b: int) -> Before:
        """Return what is kept of a stream from before its newest reading."""
        row, seen = int(self.row[int(now.reading[b])]), int(now.pace["seen"][b])
        return self.arena.ring.before(row, seen)

    def _symbols(self) -> list[int]:
        return [c for c, channel in enumerate(self.manifest.channels) if channel.role == "event"]

    def _named(self, change: Change | None) -> ChannelChange | None:
        if change is None:
            return None
        return ChannelChange(self.manifest.channels[change.channel].name, change.kind)

    def _earlier(self, before: Before) -> Earlier:
        values = {
            channel.name: _shortest(column)
            for channel, column in zip(self.manifest.channels, before.x.T, strict=True)
        }
        return Earlier(tuple(before.at_us.tolist()), values)


def _shortest(column: Doubles) -> tuple[float | None, ...]:
    """Return float32 values as the shortest decimals that mean them; None where missing."""
    return tuple(None if isnan(v) else float(str(v)) for v in column.astype(np.float32))
