"""The settings of the long layout: a record is the value of one tag, and readings are joined."""

import re
from typing import Annotated, Self

from pydantic import AfterValidator, Field, model_validator

from detector.artifact import Manifest
from detector.errors import SettingsRejected
from detector.layout import Tagging, parse_place
from detector.protection import Table
from detector.records import US_PER_S

DAY_S = 86_400.0
LEAST_PERIOD_S = 0.001


def _is_place(text: str) -> str:
    parse_place(text, "key")
    return text


def _is_pattern(text: str) -> str:
    try:
        groups = re.compile(text).groupindex
    except re.error as error:
        msg = f"expected a regular expression, saw {error}"
        raise ValueError(msg) from error
    if "channel" not in groups or groups.keys() - {"stream", "channel"}:
        msg = f"expected groups (?P<channel>...) and, perhaps, (?P<stream>...), saw {[*groups]}"
        raise ValueError(msg)
    return text


class Tags(Table):
    """How a tag names its stream and its channel, and how values become readings."""

    tag: Annotated[str, AfterValidator(_is_place)] = Field(
        "tag", description="Where the tag is: key, header:NAME, or a path (metric.name)."
    )
    pattern: Annotated[str, AfterValidator(_is_pattern)] = Field(
        "(?P<stream>.+)/(?P<channel>[^/]+)",
        description="What a whole tag is; without a group stream, it is where `stream` says.",
    )
    period_s: float | None = Field(
        None, ge=LEAST_PERIOD_S, le=DAY_S, description="A reading for each period of event time."
    )
    hold_s: float | None = Field(
        None,
        ge=LEAST_PERIOD_S,
        le=DAY_S,
        description="Or: when all channels have come, or after so long.",
    )
    carry_s: float = Field(
        60.0, ge=0, le=10**9, description="A channel's last value is missing when it is older."
    )

    @model_validator(mode="after")
    def _one_of(self) -> Self:
        if (self.period_s is None) == (self.hold_s is None):
            saw = "neither" if self.hold_s is None else "both"
            msg = f"expected one of period_s and hold_s, saw {saw}"
            raise ValueError(msg)
        return self

    @property
    def name_streams(self) -> bool:
        """Whether tags say whose value it is, too."""
        return "stream" in re.compile(self.pattern).groupindex


def tagging_of(given: Tags) -> Tagging:
    """Return what the settings say, in microseconds."""
    span_s = given.period_s or given.hold_s or 0.0
    return Tagging(
        place=parse_place(given.tag, "key"),
        pattern=re.compile(given.pattern),
        span_us=round(span_s * US_PER_S),
        complete=given.hold_s is not None,
        carry_us=round(given.carry_s * US_PER_S),
    )


def check_span(given: Tags, manifest: Manifest) -> None:
    """Refuse readings that are further apart than the model bears: it would never warm up.

    Raises:
        SettingsRejected: Then.
    """
    if given.period_s is not None and given.period_s > manifest.largest_gap_s:
        msg = (
            f"expected tags.period_s of at most the model's largest gap "
            f"({manifest.largest_gap_s:g} s), saw {given.period_s:g} s; the model was trained on "
            f"a reading each {manifest.period_s:g} s"
        )
        raise SettingsRejected(msg)
