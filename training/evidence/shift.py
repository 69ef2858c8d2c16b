"""Has a channel moved away from its own past, and does it stay away?

Every channel is compared with itself, so that nothing must be known of its level or its unit.
Channels that drift (temperatures) and channels that hold differ by how well their past foretells
them, and that is measured all the time. Axes: B streams, C channels, M baselines.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from training.evidence.curves import log1p
from training.networks.rows import total

FAST = 0.1  # rate of the mean that is compared
LAG = 50.0  # readings between the mean and its baseline, so that what is new does not leak in
BASELINES = (15.0, 40.0, 100.0, 1e9)  # readings; the last is the mean of all that was quiet
FREEDOM = 3.0  # of Student's t before a channel has crossed its baseline even once
LEAST_VARIANCE = 1e-3  # standardised units, squared
CLIP = 9.0  # a squared error counts as at most so many variances
STEADY = 60.0  # readings before errors are clipped
DRIFT = 3.0  # weight of the random walk that a channel did before
OPEN = 3.5  # standard deviations at which a channel's statistics stop learning
CLOSE = 0.5  # of the channel's own peak; below, they go on


class Memory(NamedTuple):
    """What a stream leaves behind, [B, C] each but for the baselines."""

    fast: Tensor
    near_1: Tensor  # a cascade of means, the last of which is the stream, LAG readings late
    near_2: Tensor
    near: Tensor
    far_1: Tensor  # another one after it, 3 LAG late
    far_2: Tensor
    far: Tensor
    error_near: Tensor  # mean square of the stream about it
    error_far: Tensor
    side: Tensor  # sign of the last deviation
    looks: Tensor  # how often it changed: so many independent errors were seen
    learnt: Tensor  # readings that the statistics rest on
    age: Tensor  # readings since they stopped; 0 while they learn
    peak: Tensor  # highest evidence since; 0 while they learn
    baseline: Tensor  # [B, M, C]
    error: Tensor  # [B, M, C]


_LEVELS = ("fast", "near_1", "near_2", "near", "far_1", "far_2", "far")
_PARTS = (*[1] * 14, len(BASELINES), len(BASELINES))


class Shift(nn.Module):
    """Evidence that the mean of a channel left its baseline, in standard deviations."""

    rate: Tensor  # [1, M, 1]

    def __init__(self, channels: int) -> None:
        """Take C."""
        super().__init__()
        self.channels = channels
        self.widths = [part * channels for part in _PARTS]
        self.register_buffer("rate", 1 / torch.tensor(BASELINES).reshape(1, -1, 1))

    def step(
        self, u: Tensor, state: Sequence[Tensor], settled: Tensor
    ) -> tuple[Tensor, list[Tensor]]:
        """Compare one reading of each stream with its past.

        Args:
            u: [B, C] compressed, standardised readings.
            state: The parts of `Memory`, [B, width] each.
            settled: [B, 1] bool: enough was seen for a deviation to be believed.

        Returns:
            Evidence [B, C], 0 and more, and the state for the next reading.
        """
        memory = self._begin(u, self._read(state))
        fast = memory.fast + FAST * (u - memory.fast)
        deviation, variance = _nearest(fast, memory)
        walk = torch.relu(memory.error_far - memory.error_near) / (2 * LAG)
        spread = variance + LEAST_VARIANCE + DRIFT * walk * memory.age
        freedom = memory.looks + FREEDOM
        evidence = ((freedom + 1) * log1p(deviation * deviation / (spread * freedom))).sqrt()

        was_away = memory.age > 0
        away = (was_away & (evidence >= CLOSE * memory.peak)) | (
            ~was_away & (evidence > OPEN) & settled
        )
        after = self._learn(u, fast, deviation, memory, 1 - away.to(u.dtype))
        after = after._replace(
            age=(memory.age + 1) * away, peak=torch.maximum(memory.peak, evidence) * away
        )
        return evidence, [part.flatten(1) for part in after]

    def _read(self, state: Sequence[Tensor]) -> Memory:
        parts = [
            part.reshape(part.shape[0], size, self.channels) if size > 1 else part
            for part, size in zip(state, _PARTS, strict=True)
        ]
        return Memory(*parts)

    def _begin(self, u: Tensor, memory: Memory) -> Memory:
        """Let a stream that was never seen begin where it is; its state is all zeros."""
        new = ((memory.learnt + memory.age) == 0).to(u.dtype) * u
        begun = {name: getattr(memory, name) + new for name in _LEVELS}
        return memory._replace(**begun, baseline=memory.baseline + new.unsqueeze(1))

    def _learn(
        self, u: Tensor, fast: Tensor, deviation: Tensor, memory: Memory, learns: Tensor
    ) -> Memory:
        """Return the statistics with this reading in them, where `learns` is 1 and not 0."""
        learnt = memory.learnt + learns
        share = learns / learnt.clamp(min=1)
        off = fast.unsqueeze(1) - memory.baseline
        error, steady = off * off, (learnt > STEADY).unsqueeze(1)
        error = torch.where(steady, torch.minimum(error, CLIP * memory.error), error)
        near, far = u - memory.near, u - memory.far
        soon, late = learns * (3 / LAG), learns * (1.5 / LAG)
        near_1 = memory.near_1 + soon * (u - memory.near_1)
        near_2 = memory.near_2 + soon * (near_1 - memory.near_2)
        near_3 = memory.near + soon * (near_2 - memory.near)
        far_1 = memory.far_1 + late * (near_3 - memory.far_1)
        far_2 = memory.far_2 + late * (far_1 - memory.far_2)
        side = torch.sign(deviation) * learns + memory.side * (1 - learns)
        rate = torch.maximum(share.unsqueeze(1), self.rate * learns.unsqueeze(1))
        return Memory(
            fast,
            near_1,
            near_2,
            near_3,
            far_1,
            far_2,
            memory.far + late * (far_2 - memory.far),
            memory.error_near + share * (near * near - memory.error_near),
            memory.error_far + share * (far * far - memory.error_far),
            side,
            memory.looks + (side != memory.side).to(u.dtype),
            learnt,
            memory.age,
            memory.peak,
            memory.baseline + rate * (near_3.unsqueeze(1) - memory.baseline),
            memory.error + share.unsqueeze(1) * (error - memory.error),
        )


def pooled(evidence: Tensor) -> Tensor:
    """Return the evidence of all channels together, [B, C] -> [B, 1].

    The fourth power lets the strongest speak, and several that agree speak louder.
    """
    square = evidence * evidence
    return total(square * square).sqrt().sqrt()


def _nearest(fast: Tensor, memory: Memory) -> tuple[Tensor, Tensor]:
    """Return deviation and variance of the baseline that foretold each channel best, [B, C]."""
    baseline, error = memory.baseline[:, 0], memory.error[:, 0]
    for m in range(1, len(BASELINES)):
        better = memory.error[:, m] < error
        baseline = torch.where(better, memory.baseline[:, m], baseline)
        error = torch.where(better, memory.error[:, m], error)
    return fast - baseline, error
