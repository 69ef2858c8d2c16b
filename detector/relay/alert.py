"""An alert as the relay reads it from its topic; alert.schema.json says more. Pure."""

from datetime import UTC, datetime, timedelta
from typing import Annotated

import msgspec

from detector.messages import rfc3339
from detector.records import BUDGET, GROUP, SILENT

Time = Annotated[datetime, msgspec.Meta(tz=True)]
# They become parts of HTTP headers.
Id = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9-]{1,64}$")]
Status = Annotated[str, msgspec.Meta(pattern=r"^[a-z]{1,16}$")]

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
WORST = 3  # channels that a summary names, or streams


class Channel(msgspec.Struct, frozen=True):
    """What a channel was and should have been."""

    name: str
    unit: str
    value: float | None
    expected: float


class Model(msgspec.Struct, frozen=True):
    """What judged it."""

    name: str
    version: str


class Origin(msgspec.Struct, frozen=True):
    """The record of the input that caused it."""

    topic: str
    partition: int
    offset: int


class Told(msgspec.Struct, frozen=True):
    """One message about an alert; the fields are the schema's, and others may come."""

    id: Id
    stream: str
    status: Status
    kind: str
    severity: str
    opened_at: Time
    at: Time
    score: float
    model: Model
    source: Origin
    channels: tuple[Channel, ...] = ()
    streams: tuple[str, ...] = ()
    muted: dict[str, object] | None = None

    @property
    def over(self) -> bool:
        """Whether the alert has ended."""
        return self.status == "close"

    @property
    def opened_us(self) -> int:
        """Event time of its first reading, in us."""
        return _us(self.opened_at)

    @property
    def at_us(self) -> int:
        """Event time of the reading that caused the message, in us."""
        return _us(self.at)


_decode = msgspec.json.Decoder(Told).decode


def read(value: bytes | None) -> Told | str:
    """Return the alert in a record's value, or what is wrong with it."""
    try:
        return _decode(value or b"")
    except (msgspec.MsgspecError, UnicodeDecodeError, ValueError) as error:
        return f"expected an alert as in alert.schema.json, saw: {error}"


def event_of(told: Told, value: bytes) -> dict[str, object]:
    """Return the alert as CloudEvents 1.0 has it in JSON: the attributes of its Kafka headers.

    Args:
        told: What `value` says.
        value: The alert as it came; it becomes `data` byte by byte.
    """
    return {
        "specversion": "1.0",
        "id": f"{told.id}.{told.status}.{told.at_us}",
        "source": f"/{told.source.topic}/{told.source.partition}",
        "type": f"detector.alert.{told.status}",
        "time": rfc3339(told.at_us),
        "subject": told.stream,
        "datacontenttype": "application/json",
        **({"muted": "true"} if told.muted else {}),
        "data": msgspec.Raw(value),
    }


def summary(told: Told) -> str:
    """Return one sentence for a person: who, since when, and by which channels.

    >>> summary(Told("1", "pump-7", "open", "state", "warning", EPOCH, EPOCH, 4.0,
    ...     Model("pumps", "0"), Origin("readings", 0, 42),
    ...     (Channel("flow", "l/min", 25.99, 22.85), Channel("valve", "", None, 1.0))))
    'pump-7 is unlike itself since 1970-01-01T00:00:00Z: flow 25.99 l/min, expected 22.85; valve missing, expected 1'
    """  # noqa: E501 - it is one sentence
    since = f"{told.opened_at.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
    if told.kind == SILENT:
        return f"{told.stream} is silent since {since}"
    if told.kind == BUDGET:
        return f"{told.stream} opened more alerts than its budget since {since}; they are not told"
    if told.kind == GROUP:
        some, more = told.streams[:WORST], max(int(told.score) - WORST, 0)
        named = ", ".join(some) + (f" and {more} more" if more else "")
        return f"{told.score:.0f} streams of {told.stream} opened alerts since {since}: {named}"
    worst = "; ".join(_seen(channel) for channel in told.channels[:WORST])
    return f"{told.stream} is unlike itself since {since}: {worst}"


def _seen(channel: Channel) -> str:
    unit = f" {channel.unit}" if channel.unit else ""
    seen = "missing" if channel.value is None else f"{channel.value:.4g}{unit}"
    return f"{channel.name} {seen}, expected {channel.expected:.4g}"


def _us(at: datetime) -> int:
    return (at - EPOCH) // timedelta(microseconds=1)
