"""Is everything in place? Settings, model, broker and topics, each with what to do."""

from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase

from detector.cluster import Cluster
from detector.equip import input_of
from detector.errors import ConnectionLost, Refused, RegistryLost
from detector.judge import rules
from detector.mapping import Input, form_of
from detector.registry import registry_of
from detector.routed import names_of, settings_for
from detector.settings import Settings
from detector.topic_names import alert_topics, inputs_of
from detector.topics import topics_of
from detector.trusted import load_trusted


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at: whether it is good, and what was seen."""

    good: bool
    what: str
    seen: str


def check(settings: Settings) -> Iterator[Finding]:
    """Look at the model and the broker, after the settings were read without a fault."""
    yield Finding(good=True, what="settings", seen="all known, all within bounds")
    for name in names_of(settings):
        yield _model(settings_for(settings, name), name)
    yield from _broker(settings)
    if settings.input.registry_url is not None:
        yield _registry(settings.input)


def _model(settings: Settings, route: str) -> Finding:
    what = f"model of {route}" if route else "model"
    try:
        manifest = load_trusted(settings).manifest
        form_of(manifest, input_of(settings, manifest))
    except Refused as error:
        return Finding(good=False, what=what, seen=str(error))
    rate = settings.judge.false_alarms_per_stream_day
    levels = rules(manifest, rate).open_level
    said = ", ".join(f"{k} > {v:.3g}" for k, v in zip(manifest.kinds, levels, strict=True))
    names = ", ".join(channel.name for channel in manifest.channels)
    seen = (
        f"{manifest.name} {manifest.version[:12]}, channels {names}; golden trace replayed; "
        f"{rate:g} false alarms a stream and day mean {said}"
    )
    return Finding(good=True, what=what, seen=seen)


def _broker(settings: Settings) -> Iterator[Finding]:
    kafka, output = settings.kafka, settings.output
    try:
        topics = topics_of(Cluster(kafka.bootstrap_servers, kafka))
    except ConnectionLost as error:
        seen = f"{error}; is it up, and DETECTOR_KAFKA__BOOTSTRAP_SERVERS right?"
        yield Finding(good=False, what="broker", seen=seen)
        return
    yield Finding(good=True, what="broker", seen=f"{kafka.bootstrap_servers} answers")
    inputs = inputs_of(settings)
    found = inputs.among(topics)
    missing = [part for part in inputs.parts if not any(fnmatchcase(one, part) for one in found)]
    there = not missing
    seen = f"{', '.join(found)} exists" if there else (
        f"expected topic {', '.join(missing)!r}, saw {', '.join(sorted(topics)) or 'none'}; "
        "create it or set DETECTOR_KAFKA__TOPIC"
    )  # fmt: skip
    yield Finding(good=there, what="input", seen=seen)
    if output.to == "kafka":
        names = [*alert_topics(settings), output.dead_letters_topic, output.scores_topic]
        for name in filter(None, names):
            seen = "exists" if name in topics else "will be created at the first message"
            yield Finding(good=True, what="output", seen=f"{name} {seen}")


def _registry(given: Input) -> Finding:
    registry = registry_of(given)
    try:
        registry.ping()
    except RegistryLost as error:
        return Finding(good=False, what="registry", seen=str(error))
    return Finding(good=True, what="registry", seen=f"{registry.url} answers")
