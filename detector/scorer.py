"""A model with what its readings go through: decoded for it, scored, judged. Pure.

Also what the loop is told from outside while it runs: another line-up of models, or that
something was refused.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from detector.artifact import Manifest
from detector.engine import Engine
from detector.model import StepModel
from detector.records import Partition
from detector.snapshot import Origin
from detector.validate import Format

What = Literal["model", "candidate", "settings"]
# How an attempt to change while running can end; a metric's label.
Fate = Literal["taken", "refused", "needs_restart"]


@dataclass(frozen=True, slots=True, eq=False)
class Scorer:
    """One model, ready to score: two of the same file are two.

    Attributes:
        engine: The model with the rules that judge its scores.
        form: What a valid record is for it.
        depth: Readings that the ring of a stream holds.
    """

    engine: Engine
    form: Format
    depth: int = 0

    @property
    def manifest(self) -> Manifest:
        """What the model says of itself."""
        return self.engine.model.manifest

    def origin(self, partition: Partition, prefix: bytes = b"") -> Origin:
        """Return what is said of a partition's state that this model makes."""
        return Origin(self.manifest, partition, self.depth, prefix)


def same_state(one: Manifest, other: Manifest) -> bool:
    """Return whether state that one model left behind means the same to the other.

    It does for one graph, to the byte. All else of a model file (calibration, bounds of
    channels, warm-up, names) may differ.
    """
    return one.version == other.version and one.kinds == other.kinds


@dataclass(frozen=True, slots=True)
class Lineup:
    """Which models score from now on, and how.

    Attributes:
        judging: What it says is told, as soon as its streams are warmed up.
        candidate: Scores beside it; what it says is compared.
        make: Returns the scorer of a model that still runs, as the settings are now.
        patience_s: For the warm-up of streams; then the next model judges all the same.
        limit: Bad records in a row, and their share of a minute, that are too many.
        config: Hash of the settings.
        route: Whose models these are.
    """

    judging: Scorer
    candidate: Scorer | None
    make: Callable[[StepModel], Scorer]
    patience_s: float
    limit: tuple[int, float]
    config: str
    route: str = ""


@dataclass(frozen=True, slots=True)
class Notice:
    """What came of an attempt to change something.

    Attributes:
        detail: What was taken, or why not, for a person.
    """

    what: What
    fate: Fate
    detail: str


News = Lineup | Notice
