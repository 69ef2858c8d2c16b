"""A model with what the settings say of it: how its records are read, when its scores alert."""

from collections.abc import Callable
from typing import Any

from detector.artifact import Manifest
from detector.budget import Limits
from detector.engine import Engine
from detector.judge import Rules, rules
from detector.mapping import Input, form_of
from detector.model import StepModel
from detector.overrides import Overrides
from detector.records import US_PER_S
from detector.ring import ring_depth
from detector.scorer import Scorer
from detector.settings import Settings
from detector.silence import Silence
from detector.telling import Judge
from detector.thresholds import Thresholds
from detector.wire import from_json


def equip(
    settings: Settings,
    model: StepModel,
    *,
    overrides: Overrides,
    unpack: Callable[[bytes], Any] = from_json,
    route: str = "",
) -> Scorer:
    """Return a model, ready to score.

    Args:
        settings: As they are now.
        model: Of the machines.
        overrides: What operators say of single streams; followed while it changes.
        unpack: Makes a document of a record's bytes, where the records are not of our own format.
        route: Whose streams it scores.
    """
    manifest, judge = model.manifest, settings.judge
    engine = Engine(
        model,
        rules_of(manifest, judge),
        silence_of(settings),
        telling_of(judge, route),
        _thresholds(manifest, judge, overrides),
    )
    depth = ring_depth(len(manifest.channels), judge.readings_before)
    return Scorer(engine, form_of(manifest, input_of(settings, manifest), unpack), depth)


def input_of(settings: Settings, manifest: Manifest) -> Input:
    """Return how records are read, without the channels of other routes' models."""
    given = settings.input
    if not settings.routes:
        return given
    names = {channel.name for channel in manifest.channels}
    own = {name: cell for name, cell in given.channels.items() if name in names}
    return given.model_copy(update={"channels": own})


def silence_of(settings: Settings) -> Silence:
    """Return when a stream is silent, and when it is gone."""
    return Silence(settings.judge.silent_after, int(settings.state.ttl_s * US_PER_S))


def telling_of(settings: Judge, route: str = "") -> Limits:
    """Return how much a route tells of a partition."""
    streams = settings.group_streams if settings.group_streams > 1 else None
    within_us = int(settings.group_within_s * US_PER_S)
    return Limits(settings.opens_per_hour, streams, within_us, route)


def rules_of(manifest: Manifest, settings: Judge) -> Rules:
    """Return when to open and close an alert."""
    return rules(
        manifest,
        settings.false_alarms_per_stream_day,
        close_share=settings.close_share,
        open_after=settings.open_after,
        close_after=settings.close_after,
        cool_down_s=settings.cool_down_s,
        lasting_s=settings.lasting_s,
        at_most=settings.at_most,
    )


def _thresholds(manifest: Manifest, judge: Judge, overrides: Overrides) -> Thresholds:
    def rules_at(rate: float) -> Rules:
        changes = {"false_alarms_per_stream_day": rate}
        return rules_of(manifest, judge.model_copy(update=changes))

    return Thresholds(overrides, rules_at)
