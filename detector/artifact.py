"""The manifest inside a model file; `training` writes it, `detector` believes nothing else.

The file is an ONNX model with the manifest appended as one more metadata property. Protobuf
reads concatenated messages as one, so the file's first `graph_bytes` bytes are the graph alone
and their sha256 is the model's version: any tool can check it, with or without ONNX.
"""

import hashlib
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Literal, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from detector.errors import ArtifactRejected
from detector.records import Doubles

MANIFEST_KEY = "detector.manifest"
MANIFEST_VERSION = 1
OPSET = 20  # of the exported graph; onnxruntime >= 1.17 runs it
GOLDEN_TOLERANCE = 1e-4

Cell = float | None  # JSON has no NaN: a missing value is null
Finite = Annotated[float, Field(allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Share = Annotated[float, Field(gt=0, le=1)]


class Frozen(BaseModel):
    """A value: no field may change, none may be unknown."""

    # JSON has no infinity, which a bound of a channel may be.
    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="strings")


class Channel(Frozen):
    """One column of x.

    Attributes:
        valid: Lowest and highest value that can be measured; others count as missing.
        role: Telemetry is scored. `command` and `status` only inform. `constant` was the same in
            all of the history: its scale is only nominal, and any change of it is new. An `event`
            is a symbol: its values are codes, `expected` is the likeliest one, and its `residual`
            is how much less likely the one that came was, than symbols usually are.
        symbols: Names of an event's codes, from 0 on.
    """

    name: Annotated[str, Field(min_length=1)]
    unit: str = ""
    valid: tuple[float, float] | None = None
    role: Literal["telemetry", "command", "status", "constant", "event"] = "telemetry"
    symbols: tuple[str, ...] = ()


class Calibration(Frozen):
    """How often a normal reading scores above a level, from held-out normal data.

    Up to `tail_start` the exceedance probability is interpolated between `levels`; beyond it a
    generalised Pareto tail is fitted to the excesses (Siffer et al., KDD 2017).

    Attributes:
        kind: The evidence this speaks of: one column of the score.
        levels: Scores, rising; the last is `tail_start`.
        exceedance: Share of readings above each of `levels`, falling; ends with the tail's.
        scale: Of the tail, in units of the score.
        shape: Of the tail; 0 is exponential, larger is heavier. Never negative, because a
            tail that ends would make the threshold a matter of luck.
        extremal_index: Independent alarms per exceedance: 1 / mean cluster length
            (Leadbetter, 1983).
    """

    kind: str
    levels: tuple[Finite, ...]
    exceedance: tuple[Share, ...]
    scale: Positive
    shape: Annotated[float, Field(ge=0, le=2)]
    extremal_index: Annotated[float, Field(gt=0, le=1)]

    @model_validator(mode="after")
    def _falls(self) -> Self:
        levels, exceedance = self.levels, self.exceedance
        rising = all(a < b for a, b in pairwise(levels))
        falling = all(a >= b for a, b in pairwise(exceedance))
        if not levels or len(levels) != len(exceedance) or not rising or not falling:
            msg = "expected rising `levels`, and for each a falling `exceedance`"
            raise ValueError(msg)
        return self

    def probability(self, score: Doubles) -> Doubles:
        """Return the probability that a normal reading scores above, same shape as `score`."""
        body = np.interp(score, self.levels, self.exceedance)
        excess = np.maximum(score - self.levels[-1], 0.0) / self.scale
        if self.shape:
            excess = np.log1p(self.shape * excess) / self.shape
        return np.where(excess > 0, self.exceedance[-1] * np.exp(-excess), body)

    def rarity(self, score: Doubles) -> Doubles:
        """Return how rare such scores are among normal readings, in powers of ten.

        3 is one in 1,000; its exceedance falls by a factor of ten a step. Same shape as `score`.
        """
        return -np.log10(np.maximum(self.probability(score), np.finfo(np.float64).tiny))

    def level(self, probability: float) -> float:
        """Return the score that a normal reading exceeds with `probability`.

        The inverse of `probability` in the tail and in the body.
        """
        if probability >= self.exceedance[-1]:
            rising = np.array(self.exceedance[::-1])
            return float(np.interp(probability, rising, self.levels[::-1]))
        ratio = np.log(self.exceedance[-1] / probability)
        growth = ratio if self.shape == 0 else np.expm1(self.shape * ratio) / self.shape
        return float(self.levels[-1] + self.scale * growth)

    def reading_probability(self, alarms_per_day: float, period_s: float) -> float:
        """Return the probability a reading that a rate of false alarms allows.

        Args:
            alarms_per_day: Openings a stream and day that are acceptable on normal data.
            period_s: Nominal seconds between two readings of a stream.
        """
        return min(alarms_per_day * period_s / (86_400 * self.extremal_index), 1.0)


class Golden(Frozen):
    """A short trace from a zero state, and what torch made of it.

    Attributes:
        x: [T, C] readings of one stream, null where missing.
        expected: [T, C].
        residual: [T, C].
        score: [T, K].
        unit: [C] what each channel varies by: what is expected of one in pascals is not held to
            a ten-thousandth of one. Nothing: 1.
    """

    x: Annotated[tuple[tuple[Cell, ...], ...], Field(min_length=1)]
    expected: tuple[tuple[float, ...], ...]
    residual: tuple[tuple[float, ...], ...]
    score: tuple[tuple[float, ...], ...]
    unit: tuple[Positive, ...] = ()


class Manifest(Frozen):
    """All that the daemon must know of a model beside its graph.

    Attributes:
        version: sha256 of the graph, in hex.
        graph_bytes: Where in the file the graph ends.
        period_s: Nominal seconds between two readings of a stream.
        largest_gap_s: After a longer silence a stream starts afresh.
        warm_up: Readings after a start during which nothing is alerted.
        state_width: S.
        delay: `expected` and `residual` are of the reading so many readings ago, and so is what
            the score says; 0 but for a network that looks at what comes after.
        calibration: One a kind of evidence, in the order of the score's columns.
        training: The record of how it was made: configuration, data, seeds, packages, figures.
    """

    manifest_version: Literal[1]
    name: Annotated[str, Field(min_length=1)]
    version: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
    graph_bytes: Annotated[int, Field(gt=0)]
    channels: Annotated[tuple[Channel, ...], Field(min_length=1)]
    period_s: Positive
    largest_gap_s: Positive
    warm_up: Annotated[int, Field(ge=0)]
    state_width: Annotated[int, Field(gt=0)]
    delay: Annotated[int, Field(ge=0)] = 0
    calibration: Annotated[tuple[Calibration, ...], Field(min_length=1)]
    golden: Golden
    training: dict[str, object]

    @model_validator(mode="after")
    def _agrees(self) -> Self:
        names = [channel.name for channel in self.channels]
        for several in (names, self.kinds):
            if len(set(several)) < len(several):
                msg = f"expected names that differ, saw {', '.join(several)}"
                raise ValueError(msg)
        golden, channels = self.golden, len(self.channels)
        for name, width in (
            ("x", channels),
            ("expected", channels),
            ("residual", channels),
            ("score", len(self.kinds)),
        ):
            rows = getattr(golden, name)
            if len(rows) != len(golden.x) or any(len(row) != width for row in rows):
                msg = f"expected golden.{name} to be [{len(golden.x)}, {width}]"
                raise ValueError(msg)
        if golden.unit and len(golden.unit) != channels:
            msg = f"expected golden.unit to be [{channels}], saw {len(golden.unit)}"
            raise ValueError(msg)
        return self

    @property
    def kinds(self) -> tuple[str, ...]:
        """Names of the score's columns."""
        return tuple(c.kind for c in self.calibration)


def parse_manifest(text: str | None, path: Path) -> Manifest:
    """Validate a manifest.

    Raises:
        ArtifactRejected: If there is none, or it is not one this daemon knows.
    """
    if text is None:
        msg = (
            f"{path}: expected metadata {MANIFEST_KEY!r} in the ONNX file, saw none; "
            "make the file with `training export`"
        )
        raise ArtifactRejected(msg)
    try:
        return Manifest.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "manifest"
        saw = "" if isinstance(first["input"], dict) else f" = {str(first['input'])[:80]!r}"
        msg = (
            f"{path}: expected a manifest of version {MANIFEST_VERSION}, saw {where}{saw}: "
            f"{first['msg']}; export the model again with the `training` of this release"
        )
        raise ArtifactRejected(msg) from error


def check_graph_hash(content: bytes, manifest: Manifest, path: Path) -> None:
    """Compare the graph with the version that the manifest names.

    Raises:
        ArtifactRejected: If they differ: the file was changed after its export.
    """
    seen = hashlib.sha256(content[: manifest.graph_bytes]).hexdigest()
    if seen != manifest.version:
        msg = (
            f"{path}: expected a graph with sha256 {manifest.version[:12]}…, saw {seen[:12]}…; "
            "the file was changed after its export: copy it again from where it was made"
        )
        raise ArtifactRejected(msg)
