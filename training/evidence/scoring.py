"""All evidence of a reading to two scores: `state` and `onset`.

Axes: B streams, V channels that are scored, E event channels, K kinds.
"""

from collections.abc import Sequence
from itertools import islice
from typing import NamedTuple

import torch
from torch import Tensor, nn

from training.config import Score
from training.evidence.joint import Joint
from training.evidence.novelty import Novelty
from training.evidence.onset import Onset
from training.evidence.shift import Shift, pooled
from training.evidence.surprise import Surprise
from training.evidence.symbols import Symbols

# In units of the state score, which are standard deviations: a distance from normal that is e
# times the usual one.
NOVELTY = 5.0
TRUSTED = 4.0  # a shift that hundredths of normal readings exceed counts less


class Evidence(NamedTuple):
    """What speaks for an anomaly, [B, 1] each, in units of the state score; onset in its own."""

    shift: Tensor
    novelty: Tensor
    surprise: Tensor
    joint: Tensor
    onset: Tensor
    symbols: Tensor


class Scoring(nn.Module):
    """One reading after the other to evidence, whatever network made the errors."""

    settle: Tensor  # [] readings before a shift is believed
    trust: Tensor  # [] weight of a shift, from how large it is on normal readings
    agree: Tensor  # [] weight of joint evidence: as rare as the others' sum on normal readings

    def __init__(self, channels: int, options: Score, events: int = 0) -> None:
        """Take V, the sizes of the memories, and E; one of 0 leaves its evidence out."""
        super().__init__()
        self.channels = channels
        self.shift = Shift(channels)
        self.surprise = Surprise(channels)
        self.joint = Joint(channels)
        self.novelty = Novelty(channels, options.windows) if channels and options.windows else None
        self.onset = Onset(channels, options.levels) if channels and options.levels else None
        self.symbols = Symbols(events) if events else None
        self.register_buffer("settle", torch.tensor(float(options.warm_up)))
        self.register_buffer("trust", torch.ones(()))
        self.register_buffer("agree", torch.zeros(()))

    @property
    def kinds(self) -> tuple[str, ...]:
        """Names of the scores, K."""
        return ("state", "onset") if self.onset else ("state",)

    @property
    def weights(self) -> list[Tensor]:
        """What calibration weighs evidence by; 1 while it finds out."""
        return [self.trust, self.agree, *([self.symbols.trust] if self.symbols else [])]

    @property
    def widths(self) -> list[int]:
        """Of the parts of the state: readings seen, the last one, and what evidence keeps."""
        return [1, self.channels, *(width for part in self._parts for width in part)]

    @property
    def _parts(self) -> list[list[int]]:
        always = (self.shift, self.surprise, self.joint) if self.channels else (None,) * 3
        parts = (*always, self.novelty, self.onset, self.symbols)
        return [part.widths if part else [] for part in parts]

    def step(
        self,
        u: Tensor,
        missing: Tensor,
        error: Tensor,
        state: Sequence[Tensor],
        odd: Tensor | None = None,
    ) -> tuple[Evidence, list[Tensor]]:
        """Weigh one reading of each stream.

        Args:
            u: [B, V] compressed, standardised readings.
            missing: [B, V] bool; the last reading stands in.
            error: [B, V] of the network, in deviations of held-out errors; 0 where missing.
            state: Parts of `widths`, [B, width] each.
            odd: [B, E] surprise at symbols, in deviations of held-out ones; 0 where missing.

        Returns:
            The evidence, and the state for the next reading.
        """
        seen, last, rest = state[0], state[1], iter(state[2:])
        shift, surprise, joint, novelty, onset, sums = (
            list(islice(rest, len(part))) for part in self._parts
        )
        u = torch.where(missing, last, u)
        moved = wrong = apart = far = told = distance = unlikely = torch.zeros_like(seen)
        if self.channels:
            each, shift = self.shift.step(u, shift, seen >= self.settle)
            moved = self.trust * pooled(each)
            wrong, surprise = self.surprise.step(error, surprise)
            parted, joint = self.joint.step(u, joint)
            apart = self.agree * parted
        if self.novelty:
            far, distance, novelty = self.novelty.step(u, novelty)
        if self.onset:
            told, onset = self.onset.step(u, distance, onset, seen)
        if self.symbols and odd is not None:
            unlikely, sums = self.symbols.step(odd, sums)
        evidence = Evidence(moved, NOVELTY * far, wrong, apart, told, unlikely)
        return evidence, [seen + 1, u, *shift, *surprise, *joint, *novelty, *onset, *sums]

    def alone(self, evidence: Evidence) -> Tensor:
        """Return what is held against joint evidence, [..., 1]."""
        return evidence.shift + evidence.novelty + evidence.surprise

    def score(self, evidence: Evidence) -> Tensor:
        """Return one column a kind, [..., K]."""
        state = torch.maximum(self.alone(evidence), evidence.joint)
        state = state + evidence.symbols if self.symbols else state
        return torch.cat([state, evidence.onset], -1) if self.onset else state
