"""Settings of what is told, and when."""

from pydantic import Field

from detector.judge import LASTING_S
from detector.protection import Table
from detector.records import Severity

MOST_BEFORE = 64  # readings


class Judge(Table):
    """When to say something, and how much."""

    false_alarms_per_stream_day: float = Field(
        0.1, gt=0, le=1000, description="Openings a stream and day to accept on normal data."
    )
    open_after: int = Field(1, ge=1, le=10_000, description="Readings in a row that open an alert.")
    close_share: float = Field(0.35, gt=0, lt=1, description="Of its peak; lower is quiet.")
    close_after: int = Field(1, ge=1, le=100_000, description="Quiet readings that close it.")
    cool_down_s: float = Field(0.0, ge=0, le=10**7, description="Pause (event time) after it.")
    lasting_s: float = Field(
        LASTING_S, ge=0, le=10**7, description="Open for longer (event time), it is no mere info."
    )
    silent_after: float = Field(
        10.0,
        ge=0,
        le=1000,
        description="A stream is silent after so many of its own longest gaps; 0: never told.",
    )
    opens_per_hour: int = Field(
        100,
        ge=1,
        le=1_000_000,
        description="Openings that a partition tells of (event time); beyond, a summary does.",
    )
    at_most: Severity = Field("critical", description="No alert of a model is more severe.")
    group_streams: int = Field(
        10,
        ge=0,
        le=1000,
        description="So many streams of a partition that open alerts within `group_within_s` are "
        "told as one, of kind group; below 2: never.",
    )
    group_within_s: float = Field(
        60.0, gt=0, le=86_400, description="How close together that is (event time)."
    )
    readings_before: int = Field(
        8,
        ge=0,
        le=MOST_BEFORE,
        description="Readings that an opening shows of the time before it; kept of each stream, "
        "in at most 4 KiB.",
    )
