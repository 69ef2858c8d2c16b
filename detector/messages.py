"""Alerts, dead letters and scores as Kafka records. Pure."""

from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.resources import files

import msgspec
import numpy as np

from detector.artifact import Manifest
from detector.engine import Trace
from detector.overrides import Mute
from detector.records import BUDGET, GROUP, US_PER_S, Alert, BadRecord, Chunk, Message, Readings

ALERT_SCHEMA = msgspec.json.decode((files("detector") / "alert.schema.json").read_bytes())

# A dead letter must fit where its original did not: brokers accept 1 MiB unless told otherwise.
DEAD_LETTER_BYTES = 900_000  # key and value
DEAD_LETTER_KEY_BYTES = 100_000
HEADER_BYTES = 4096  # of one that a mapping asks for; a longer one is left out

_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True)
class Topics:
    """Where what is said goes; no scores, or alerts of a shadow, where their topic is None."""

    alerts: str
    dead_letters: str
    scores: str | None = None
    shadow: str | None = None


def rfc3339(ts_us: int) -> str:
    """Return a time as text.

    >>> rfc3339(1_700_000_000_250_000)
    '2023-11-14T22:13:20.250000Z'
    """
    seconds, micros = divmod(ts_us, US_PER_S)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{micros:06d}Z"


def alert_body(alert: Alert) -> dict[str, object]:
    """Return an alert as the JSON object that alert.schema.json describes."""
    body: dict[str, object] = {
        "id": alert.id,
        "stream": alert.stream,
        "status": alert.status,
        "kind": alert.kind,
        "severity": alert.severity,
        "opened_at": rfc3339(alert.opened_us),
        "at": rfc3339(alert.at_us),
        "score": alert.score,
        "threshold": alert.threshold,
        "model": {"name": alert.model, "version": alert.version},
        "source": {
            "topic": alert.partition.topic,
            "partition": alert.partition.number,
            "offset": alert.offset,
        },
    }
    if alert.probability is not None:
        body["probability"] = alert.probability
        body["channels"] = [channel._asdict() for channel in alert.channels]
    if alert.kind in {BUDGET, GROUP}:
        body["streams"] = alert.streams
    if alert.change is not None:
        body["change"] = alert.change._asdict()
    if alert.before is not None:
        body["before"] = {
            "at": [rfc3339(ts_us) for ts_us in alert.before.at_us],
            "values": alert.before.values,
        }
    if alert.status == "close":
        body["peak"] = alert.peak
        body["duration_s"] = (alert.at_us - alert.opened_us) / US_PER_S
        body["cause"] = alert.cause
    return body


def alert_message(alert: Alert, topic: str, mute: Mute | None = None) -> Message:
    """Return an alert as a record: keyed by its stream, CloudEvents 1.0 in binary mode.

    What mutes it, if anything does, stands in the body and as an extension in the headers.
    """
    source = f"/{alert.partition.topic}/{alert.partition.number}"
    headers = {
        "ce_specversion": "1.0",
        "ce_id": f"{alert.id}.{alert.status}.{alert.at_us}",
        "ce_source": source,
        "ce_type": f"detector.alert.{alert.status}",
        "ce_time": rfc3339(alert.at_us),
        "ce_subject": alert.stream,
        "content-type": "application/json",
    }
    body = alert_body(alert)
    if mute is not None:
        headers["ce_muted"] = "true"
        body["muted"] = {"until": mute.until, "by": mute.by, "why": mute.why}
    encoded = tuple((name, value.encode()) for name, value in headers.items())
    return Message(topic, alert.stream.encode(), _encode(body), encoded)


def dead_letter(bad: BadRecord, chunk: Chunk, topic: str) -> Message:
    """Return a bad record as it came, with where it came from and why it is here in headers.

    Of its own headers it keeps those that a mapping asks for.

    A key or value too large for a broker's default limit is cut, and a header says how long it
    was.
    """
    key, value = chunk.keys[bad.index] or b"", chunk.values[bad.index] or b""
    kept_key = key[:DEAD_LETTER_KEY_BYTES]
    kept_value = value[: DEAD_LETTER_BYTES - len(kept_key)]
    headers = [
        ("detector_reason", bad.reason.encode()),
        ("detector_detail", bad.detail.encode()),
        ("detector_topic", chunk.partition.topic.encode()),
        ("detector_partition", str(chunk.partition.number).encode()),
        ("detector_offset", str(int(chunk.offsets[bad.index])).encode()),
    ]
    asked = ((name, column[bad.index]) for name, column in chunk.headers.items())
    headers += [(name, one) for name, one in asked if one and len(one) <= HEADER_BYTES]
    if len(kept_key) < len(key):
        headers.append(("detector_key_bytes", str(len(key)).encode()))
    if len(kept_value) < len(value):
        headers.append(("detector_value_bytes", str(len(value)).encode()))
    return Message(topic, kept_key or chunk.keys[bad.index], kept_value, tuple(headers))


def score_messages(
    readings: Readings, trace: Trace, manifest: Manifest, topic: str
) -> list[Message]:
    """Return a record for each reading that was scored: for those who ask for every score."""
    kinds = manifest.kinds
    said = []
    for n in np.flatnonzero(trace.scored).tolist():
        stream = readings.streams[int(readings.stream[n])]
        body = {
            "ts": rfc3339(int(readings.ts_us[n])),
            "score": dict(zip(kinds, trace.score[n].tolist(), strict=True)),
            "alerting": dict(zip(kinds, trace.alerting[n].tolist(), strict=True)),
            "warm": bool(trace.warm[n]),
            "offset": int(readings.offset[n]),
        }
        said.append(Message(topic, stream, _encode(body)))
    return said
