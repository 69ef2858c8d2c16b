"""The manifest: what is believed of a model, and what is refused."""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fakes import manifest

from detector.artifact import Calibration, check_graph_hash, parse_manifest
from detector.errors import ArtifactRejected

PATH = Path("model.onnx")


def calibration(**changes: object) -> Calibration:
    return Calibration.model_validate(manifest().calibration[0].model_dump() | changes)


def probability(made: Calibration, score: float) -> float:
    return float(made.probability(np.array(score)))


shapes = pytest.mark.parametrize("shape", [0.0, 1e-6, 0.2, 1.5])


@shapes
def test_level_and_probability_are_inverses_in_body_and_tail(shape: float) -> None:
    made = calibration(shape=shape)
    for p in (1e-12, 1e-6, 0.001, 0.00999, 0.01, 0.02, 0.1, 0.5, 1):
        assert probability(made, made.level(p)) == pytest.approx(p)
    for score in (0, 0.3, 1, 1.9, 2, 2.1, 5, 20):
        assert made.level(probability(made, score)) == pytest.approx(score)


@shapes
def test_a_higher_score_is_never_more_likely(shape: float) -> None:
    scores = np.linspace(-1, 50, 5001)
    likely = calibration(shape=shape).probability(scores)
    assert likely.shape == scores.shape
    assert (np.diff(likely) <= 0).all()
    assert (np.diff(likely[scores > 0]) < 0).all()
    assert ((likely > 0) & (likely <= 1)).all()


def test_body_and_tail_meet() -> None:
    made = calibration(shape=0.3)
    assert probability(made, 2 + 1e-9) == pytest.approx(probability(made, 2)) == 0.01
    assert made.level(0.01) == 2


def test_the_tail_is_exponential_without_a_shape_and_heavier_with_one() -> None:
    assert probability(calibration(), 2 + 0.5) == pytest.approx(0.01 * np.exp(-1))
    assert probability(calibration(shape=1.0), 2 + 0.5) == pytest.approx(0.01 / 2)


def test_scores_beyond_all_levels_are_clamped_not_refused() -> None:
    made = calibration()
    assert probability(made, -5) == 1
    assert probability(made, np.inf) == 0
    assert made.level(1) == 0


def test_a_rate_of_false_alarms_becomes_a_probability_a_reading() -> None:
    made = calibration(extremal_index=0.5)
    # 8,640 readings a day, two exceedances an alarm.
    assert made.reading_probability(1, period_s=10) == pytest.approx(2 / 8640)
    assert made.reading_probability(1, period_s=10**9) == 1


def text(**changes: object) -> str:
    return json.dumps(manifest().model_dump(mode="json") | changes)


def curve(**changes: Any) -> str:
    return text(calibration=[manifest().calibration[0].model_dump() | changes])


def test_a_manifest_survives_its_text() -> None:
    made = manifest(channels=3)
    assert parse_manifest(made.model_dump_json(), PATH) == made


@pytest.mark.parametrize(
    ("wrong", "expected"),
    [
        (None, "expected metadata 'detector.manifest' .* saw none; make the file with"),
        ("", "expected a manifest of version 1, saw .*Invalid JSON.*; export the model again"),
        ("[]", "expected a manifest of version 1, .* should be an object"),
        (text(manifest_version=2), "version 1, saw manifest_version = '2'.*; export the model"),
        (text(colour="red"), "saw colour = 'red': Extra inputs are not permitted"),
        (text(version="A" * 64), "saw version = 'AAA"),
        (text(channels=[]), r"saw channels = '\[\]'"),
        (text(channels=[{"name": ""}]), "saw channels.0.name = ''"),
        (text(period_s=0), "saw period_s = '0'"),
        (text(warm_up=-1), "saw warm_up = '-1'"),
        (text(calibration=[]), "saw calibration"),
        (curve(scale=0), "saw calibration.0.scale = '0'"),
        (curve(shape=-0.1), "saw calibration.0.shape"),
        (curve(extremal_index=0), "saw calibration.0.extremal_index"),
        (curve(exceedance=[1, 0.1, 0]), "saw calibration.0.exceedance.2"),
    ],
)
def test_a_wrong_manifest_is_refused_with_what_was_seen_and_what_to_do(
    wrong: str | None, expected: str
) -> None:
    with pytest.raises(ArtifactRejected, match=rf"^model\.onnx: .*{expected}"):
        parse_manifest(wrong, PATH)


@pytest.mark.parametrize(
    "changes",
    [
        {"levels": [0, 1]},
        {"levels": [], "exceedance": []},
        {"levels": [2, 1, 0]},
        {"exceedance": [0.01, 0.1, 1]},
        {"exceedance": [3, 2, 1]},
    ],
    ids=str,
)
def test_a_calibration_that_is_no_falling_curve_is_refused(changes: dict[str, object]) -> None:
    with pytest.raises(ArtifactRejected, match=r"calibration\.0"):
        parse_manifest(curve(**changes), PATH)


def test_a_long_wrong_value_is_not_repeated_in_full() -> None:
    with pytest.raises(ArtifactRejected) as refused:
        parse_manifest(text(name=["x"] * 10_000), PATH)
    assert len(str(refused.value)) < 400


def test_a_graph_that_is_not_the_one_that_was_exported_is_refused() -> None:
    graph = b"graph"
    whole = manifest(version=hashlib.sha256(graph).hexdigest(), graph_bytes=len(graph))
    check_graph_hash(graph + b" and its manifest", whole, PATH)
    for changed in (b"graPh and its manifest", b"grap", b""):
        with pytest.raises(ArtifactRejected, match=f"sha256 {whole.version[:12]}…, saw .* copy it"):
            check_graph_hash(changed, whole, PATH)
