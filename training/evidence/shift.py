"""Has a channel moved away from its own past, and does it stay away?

Every channel is compared with itself, so that nothing must be known of its level or its unit.
Channels that drift (temperatures) and channels that hold differ by how well their past foretells
them, and that is measured all the time. Axes: B streams, C channels, M baselines.
"""

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
    """What a stream leaves behind, [B, C] each but for the baselines [B, M, C]."""

    fast: Tensor
    near: Tensor  # [B, 3, C] a cascade of means: the stream, LAG readings late
    far: Tensor  # [B, 3, C] another one after it: 3 LAG late
    error_near: Tensor  # mean square of the stream about it
    error_far: Tensor
    side: Tensor  # sign of the last deviation
    looks: Tensor  # how often it changed: so many independent errors were seen
    learnt: Tensor  # readings that the statistics rest on
    age: Tensor  # readings since they stopped; 0 while they learn
    peak: Tensor  # highest evidence since; 0 while they learn
    baseline: Tensor
    error: Tensor


_PARTS = [1, 3, 3, 1, 1, 1, 1, 1, 1, 1, len(BASELINES), len(BASELINES)]


class Shift(nn.Module):
    """Evidence that the mean of a channel left its baseline, in standard deviations."""

    def __init__(self, channels: int) -> None:
        """Take C."""
        super().__init__()
        self.channels = channels
        self.state_width = sum(_PARTS) * channels
        self.register_buffer("rate", 1 / torch.tensor(BASELINES).reshape(1, -1, 1))

    rate: Tensor  # [1, M, 1]

    def step(self, u: Tensor, state: Tensor, settled: Tensor) -> tuple[Tensor, Tensor]:
        """Compare one reading of each stream with its past.

        Args:
            u: [B, C] compressed, standardised readings.
            state: [B, N].
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
        evidence = ((freedom + 1) * log1p(deviation.square() / spread / freedom)).sqrt()

        away = (memory.age > 0) & (evidence >= CLOSE * memory.peak)
        away = away | ((memory.age == 0) & (evidence > OPEN) & settled)
        kept = memory._replace(
            fast=fast,
            age=memory.age + 1,
            peak=torch.maximum(memory.peak, evidence),
        )
        learnt = self._learn(u, fast, deviation, memory)
        parts = [
            torch.where(away.unsqueeze(1), old, new)
            for old, new in zip(map(_wide, kept), map(_wide, learnt), strict=True)
        ]
        return evidence, torch.cat(parts, 1).reshape(u.shape[0], self.state_width)

    def _read(self, state: Tensor) -> Memory:
        parts = torch.split(state.reshape(state.shape[0], sum(_PARTS), self.channels), _PARTS, 1)
        return Memory(*(p if p.shape[1] > 1 else p.squeeze(1) for p in parts))

    def _begin(self, u: Tensor, memory: Memory) -> Memory:
        """Let a stream that was never seen begin where it is."""
        new, wide = memory.learnt + memory.age == 0, u.unsqueeze(1)
        starts = {"fast": torch.where(new, u, memory.fast)}
        for name in ("near", "far", "baseline"):
            starts[name] = torch.where(new.unsqueeze(1), wide, getattr(memory, name))
        return memory._replace(**starts)

    def _learn(self, u: Tensor, fast: Tensor, deviation: Tensor, memory: Memory) -> Memory:
        """Return the statistics with this reading in them."""
        learnt = memory.learnt + 1
        share = 1 / learnt
        side = torch.where(deviation > 0, 1.0, -1.0)
        error = (fast.unsqueeze(1) - memory.baseline).square()
        steady = (learnt > STEADY).unsqueeze(1)
        error = torch.where(steady, torch.minimum(error, CLIP * memory.error), error)
        error = memory.error + share.unsqueeze(1) * (error - memory.error)
        near = (u - memory.near[:, 2]).square()
        far = (u - memory.far[:, 2]).square()
        after = _cascade(u, memory.near, 3 / LAG)
        rate = torch.maximum(share.unsqueeze(1), self.rate)
        return Memory(
            fast,
            after,
            _cascade(after[:, 2], memory.far, 1.5 / LAG),
            memory.error_near + share * (near - memory.error_near),
            memory.error_far + share * (far - memory.error_far),
            side,
            memory.looks + (side != memory.side).to(u.dtype),
            learnt,
            torch.zeros_like(memory.age),
            torch.zeros_like(memory.peak),
            memory.baseline + rate * (after[:, 2:] - memory.baseline),
            error,
        )


def pooled(evidence: Tensor) -> Tensor:
    """Return the evidence of all channels together, [B, C] -> [B, 1].

    The fourth power lets the strongest speak, and several that agree speak louder.
    """
    return total(evidence.square().square()).sqrt().sqrt()


def _nearest(fast: Tensor, memory: Memory) -> tuple[Tensor, Tensor]:
    """Return deviation and variance of the baseline that foretold each channel best, [B, C]."""
    baseline, error = memory.baseline[:, 0], memory.error[:, 0]
    for m in range(1, len(BASELINES)):
        better = memory.error[:, m] < error
        baseline = torch.where(better, memory.baseline[:, m], baseline)
        error = torch.where(better, memory.error[:, m], error)
    return fast - baseline, error


def _cascade(newest: Tensor, stages: Tensor, rate: float) -> Tensor:
    """Move three means, each of the one before it: [B, 3, C]."""
    moved = []
    for stage in stages.unbind(1):
        newest = stage + rate * (newest - stage)
        moved.append(newest)
    return torch.stack(moved, 1)


def _wide(part: Tensor) -> Tensor:
    return part if part.dim() == 3 else part.unsqueeze(1)  # noqa: PLR2004 - [B, n, C]
