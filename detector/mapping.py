"""The settings of the input: where a producer's records have what, and what is too much."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, ValidationInfo, model_validator

from detector.artifact import Manifest
from detector.errors import SettingsRejected
from detector.layout import Cell, Layout, parse_place
from detector.paths import parse_path
from detector.protection import File, Table
from detector.records import US_PER_S
from detector.tags import Tags, check_span, tagging_of
from detector.validate import Format, format_of
from detector.wire import from_json

TIME_FORMATS = ("auto", "rfc3339", "s", "ms", "us", "ns")


def _is_path(text: str) -> str:
    parse_path(text)
    return text


def _is_place(text: str, info: ValidationInfo) -> str:
    parse_place(text, "key" if info.field_name == "stream" else "record")
    return text


def _is_time_format(text: str) -> str:
    if text not in TIME_FORMATS:
        now = datetime.now(UTC)
        if "%" not in text or now.strftime(text) == text:
            msg = f"expected {', '.join(TIME_FORMATS)} or a format such as %d.%m.%Y %H:%M:%S"
            raise ValueError(msg)
        datetime.strptime(now.strftime(text), text)  # noqa: DTZ007 - only whether it can be read
    return text


def _as_table(given: Any) -> Any:  # noqa: ANN401 - pydantic validates it then
    return {"path": given} if isinstance(given, str) else given


PathText = Annotated[str, AfterValidator(_is_path)]
PlaceText = Annotated[str, AfterValidator(_is_place)]


class Channel(Table):
    """Where a channel's value is; a text alone is its path."""

    path: Annotated[PathText, Field(min_length=1)] | None = Field(
        None, description="From `values`; None: the channel's name."
    )
    scale: float = Field(1.0, allow_inf_nan=False, description="The value is multiplied by it.")
    offset: float = Field(0.0, allow_inf_nan=False, description="And this is added.")


class Input(Table):
    """What a valid record is, and where it has what."""

    max_value_bytes: int = Field(1 << 20, ge=64, le=1 << 28, description="Larger values are bad.")
    max_stream_bytes: int = Field(256, ge=1, le=4096, description="Longer stream ids are bad.")
    max_future_s: float = Field(
        3600.0, ge=0, le=10**9, description="A reading further ahead of its record's time is bad."
    )
    stream: PlaceText = Field(
        "key", description="Where the stream id is: key, header:NAME, or a path (device.id)."
    )
    time: PlaceText = Field(
        "ts", description="Where the time is: a path, header:NAME, or record (Kafka's timestamp)."
    )
    time_format: Annotated[str, AfterValidator(_is_time_format)] = Field(
        "auto", description="auto, rfc3339, s, ms, us, ns, or as strptime has it (%d.%m.%Y %H:%M)."
    )
    readings: PathText = Field(
        "", description="Path to the array of readings in a record; none: it is one, or an array."
    )
    values: PathText = Field(
        "values", description="Path from a reading to its values; none: among its own fields."
    )
    channels: dict[str, Annotated[Channel, BeforeValidator(_as_table)]] = Field(
        {}, description="Channels that are called otherwise: NAME = path, or path, scale, offset."
    )
    tags: Tags | None = Field(
        None, description="The long layout: a record is the value of one tag. A table."
    )
    registry_url: str | None = Field(
        None, pattern=r"^https?://[^/@?#\s]+(/[^?#\s]*)?$",
        description="Schema registry (Confluent's API) of Avro producers; extra avro.",
    )  # fmt: skip
    registry_username: str | None = Field(
        None, min_length=1, pattern="^[^:]+$", description="Who we are to it (basic)."
    )
    registry_password_file: File | None = Field(None, description="Holds the password.")
    registry_cafile: File | None = Field(
        None, description="PEM: who vouches for it; None: whom the system trusts."
    )

    @model_validator(mode="after")
    def _pairs(self) -> Self:
        if (self.registry_username is None) != (self.registry_password_file is None):
            msg = "expected registry_username and registry_password_file together, saw one of them"
            raise ValueError(msg)
        if self.registry_username and self.registry_url is None:
            msg = "expected registry_url beside registry_username, saw none"
            raise ValueError(msg)
        urlsplit(self.registry_url or "").port  # noqa: B018 - raises where it is none
        if self.registry_cafile and not (self.registry_url or "").startswith("https:"):
            msg = f"expected an https registry_url beside registry_cafile, saw {self.registry_url}"
            raise ValueError(msg)
        return self

    @property
    def mapped(self) -> bool:
        """Whether records are not in our own format."""
        limits = {"max_value_bytes", "max_stream_bytes", "max_future_s"}
        fields = type(self).model_fields
        return any(getattr(self, n) != f.default for n, f in fields.items() if n not in limits)


def layout_of(
    given: Input, channels: Sequence[str], unpack: Callable[[bytes], Any] = from_json
) -> Layout | None:
    """Return where records have what; None where they are in our own format.

    Args:
        given: The settings.
        channels: The model's, in its order.
        unpack: Bytes to a document.

    Raises:
        SettingsRejected: If a channel is mapped that the model does not have.
    """
    if not given.mapped:
        return None
    strangers = [name for name in given.channels if name not in channels]
    if strangers:
        msg = (
            f"expected channels of the model ({', '.join(channels)}) in [input.channels], saw "
            f"{', '.join(strangers)}; `detector sniff` proposes a mapping"
        )
        raise SettingsRejected(msg)
    return Layout(
        channels=tuple(_cell(given.channels.get(name, Channel())) for name in channels),
        stream=parse_place(given.stream, "key"),
        time=parse_place(given.time, "record"),
        time_format=given.time_format,
        readings=parse_path(given.readings),
        values=parse_path(given.values),
        unpack=unpack,
        tags=tagging_of(given.tags) if given.tags else None,
    )


def form_of(manifest: Manifest, given: Input, unpack: Callable[[bytes], Any] = from_json) -> Format:
    """Return what a valid record is, for a model.

    Raises:
        SettingsRejected: If the mapping is none for this model.
    """
    if given.tags:
        check_span(given.tags, manifest)
    names = [channel.name for channel in manifest.channels]
    return format_of(manifest, layout_of(given, names, unpack), **limits_of(given))


def limits_of(given: Input) -> dict[str, int]:
    """Return what bounds a valid record: the numbers of `Format`."""
    return {
        "max_value_bytes": given.max_value_bytes,
        "max_stream_bytes": given.max_stream_bytes,
        "max_future_us": int(given.max_future_s * US_PER_S),
    }


def headers_of(given: Input) -> tuple[str, ...]:
    """Return the headers that the mapping asks for."""
    layout = layout_of(given.model_copy(update={"channels": {}}), ())
    return layout.headers if layout else ()


def _cell(given: Channel) -> Cell:
    return Cell(parse_path(given.path) if given.path else None, given.scale, given.offset)
