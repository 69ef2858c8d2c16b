"""What docs/alerts.md shows is what is told."""

import json
import re

import numpy as np
from conftest import ROOT
from fakes import StubModel, manifest

from detector.engine import Engine
from detector.judge import rules
from detector.messages import alert_body
from detector.records import US_PER_S, Partition, Readings
from detector.silence import FADE, FEWEST, STEP_US
from detector.summary import NAMED
from detector.telling import Judge

PAGE = (ROOT / "docs" / "alerts.md").read_text(encoding="utf-8")
BEGAN_US = 1_760_000_000_000_000


def opening() -> dict[str, object]:
    made = manifest(name="pumps")
    names = (("flow", "l/min"), ("pressure", "bar"))
    channels = [
        channel.model_copy(update={"name": name, "unit": unit})
        for channel, (name, unit) in zip(made.channels, names, strict=True)
    ]
    made = made.model_copy(update={"channels": tuple(channels)})
    n = np.arange(101)
    x = np.stack([1 + n % 3 / 10, 5 - n % 2 / 10], axis=1).astype(np.float32)
    x[100, 0] = 20
    readings = Readings([b"pump-1"], n * 0, BEGAN_US + n * 1_000_000, x, n)
    engine = Engine(StubModel(made), rules(made, Judge().false_alarms_per_stream_day))
    arena = engine.new_arena(depth=Judge().readings_before)
    (alert,) = engine.run(arena, readings, Partition("readings", 3)).alerts
    return json.loads(json.dumps(alert_body(alert)))  # type: ignore[no-any-return]


def test_the_example_is_what_is_told() -> None:
    (example,) = re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)
    assert json.loads(example) == opening()


def test_the_page_names_the_defaults() -> None:
    asked = Judge()
    assert f"`judge.lasting_s` ({asked.lasting_s:g} s" in PAGE
    assert f"`judge.readings_before` of them ({asked.readings_before})" in PAGE
    assert f"`judge.silent_after` ({asked.silent_after:g})" in PAGE
    assert f"`judge.opens_per_hour` ({asked.opens_per_hour})" in PAGE
    assert f"first of their streams, {NAMED} at the most" in PAGE
    assert f"after {FADE} times its length" in PAGE
    assert f"fewer than {FEWEST} times" in PAGE
    assert f"more than {STEP_US // US_PER_S} seconds" in PAGE
