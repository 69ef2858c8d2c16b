"""What docs/alerts.md shows is what is told."""

import json
import re

import numpy as np
from conftest import ROOT
from fakes import StubModel, manifest

from detector.artifact import Manifest
from detector.engine import Engine
from detector.equip import telling_of
from detector.judge import rules
from detector.messages import alert_body
from detector.records import US_PER_S, Partition, Readings
from detector.silence import FADE, FEWEST, STEP_US
from detector.summary import NAMED
from detector.telling import Judge

PAGE = (ROOT / "docs" / "alerts.md").read_text(encoding="utf-8")
BEGAN_US = 1_760_000_000_000_000


def about() -> Manifest:
    made = manifest(name="pumps")
    names = (("flow", "l/min"), ("pressure", "bar"))
    channels = [
        channel.model_copy(update={"name": name, "unit": unit})
        for channel, (name, unit) in zip(made.channels, names, strict=True)
    ]
    return made.model_copy(update={"channels": tuple(channels)})


def opening() -> dict[str, object]:
    made = about()
    n = np.arange(101)
    x = np.stack([1 + n % 3 / 10, 5 - n % 2 / 10], axis=1).astype(np.float32)
    x[100, 0] = 20
    readings = Readings([b"pump-1"], n * 0, BEGAN_US + n * 1_000_000, x, n)
    engine = Engine(StubModel(made), rules(made, Judge().false_alarms_per_stream_day))
    arena = engine.new_arena(depth=Judge().readings_before)
    (alert,) = engine.run(arena, readings, Partition("readings", 3)).alerts
    return json.loads(json.dumps(alert_body(alert)))  # type: ignore[no-any-return]


def group() -> dict[str, object]:
    made, pumps, seconds = about(), 40, 12
    t, pump = np.divmod(np.arange(pumps * seconds), pumps)
    flow = np.where(t < 10, 1 + t % 3 / 10, 20)  # all read nonsense in the tenth second
    x = np.stack([flow, 5 - t % 2 / 10], axis=1).astype(np.float32)
    names = [b"pump-%d" % (n + 1) for n in range(pumps)]
    readings = Readings(names, pump, BEGAN_US + t * US_PER_S, x, np.arange(len(t)))
    asked = Judge()
    limits = telling_of(asked)
    engine = Engine(StubModel(made), rules(made, asked.false_alarms_per_stream_day), limits=limits)
    alerts = engine.run(engine.new_arena(), readings, Partition("readings", 3)).alerts
    singly, (opened, update) = alerts[:-2], alerts[-2:]
    assert [alert.stream for alert in singly] == [f"pump-{n}" for n in range(1, 10)]
    assert (opened.id, opened.score, update.score) == (update.id, 10, 40)
    return json.loads(json.dumps(alert_body(update)))  # type: ignore[no-any-return]


def test_the_examples_are_what_is_told() -> None:
    examples = re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)
    assert [*map(json.loads, examples)] == [opening(), group()]


def test_the_page_names_the_defaults() -> None:
    asked = Judge()
    assert f"`judge.lasting_s` ({asked.lasting_s:g} s" in PAGE
    assert f"`judge.readings_before` of them ({asked.readings_before})" in PAGE
    assert f"`judge.silent_after` ({asked.silent_after:g})" in PAGE
    assert f"`judge.group_streams` ({asked.group_streams})" in PAGE
    assert f"`judge.group_within_s` ({asked.group_within_s:g} s" in PAGE
    assert f"first members, {NAMED} at the most" in PAGE
    assert f"`judge.opens_per_hour` ({asked.opens_per_hour})" in PAGE
    assert f"first of their streams, {NAMED} at the most" in PAGE
    assert f"after {FADE} times its length" in PAGE
    assert f"fewer than {FEWEST} times" in PAGE
    assert f"more than {STEP_US // US_PER_S} seconds" in PAGE
