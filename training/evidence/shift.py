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
from training.networks.rows import apart, total

FAST = 0.1  # rate of the mean that is compared
LAG = 50.0  # readings between the mean and its baseline, so that what is new does not leak in
BASELINES = (15.0, 40.0, 100.0, 1e9)  # readings; the last is the mean of all that was quiet
FREEDOM = 3.0  # of Student's t before a channel has crossed its baseline even once
LEAST_VARIANCE = 1e-3  # of what a stream's own readings vary
CLIP = 9.0  # a squared error counts as at most so many variances
STEADY = 60.0  # readings before errors are clipped
NEVER = 1e6  # the limit before that: more than any squared error
FADES = 200.0  # readings away that double what a baseline's error may be
DRIFT = 2.0  # weight of the random walk that a channel did before
OPEN = 3.5  # standard deviations at which a channel's statistics stop learning
CLOSE = 0.4  # of the channel's own peak; below, they go on, from where the channel is
PATIENCE = 500.0  # readings after which they go on anyway: what stays that long is normal
SURE = 16.0  # variances of readings between two places, so that a reading is of one of them
OFFSET = 16.0  # of places that are kept; half of it is the lowest: far below, all are alike


class Memory(NamedTuple):
    """What a stream leaves behind, [1, C, B] each but for the baselines: [M, C, B]."""

    fast: Tensor
    near_1: Tensor  # a cascade of means, the last of which is the stream, LAG readings late
    near_2: Tensor
    near: Tensor
    far_1: Tensor  # another one after it, 3 LAG late
    far_2: Tensor
    far: Tensor
    baseline: Tensor  # [M, C, B]
    error: Tensor  # [M, C, B] mean square of the fast mean about each baseline
    error_near: Tensor  # of the stream about `near`
    error_far: Tensor
    known: Tensor  # where the channel was before it last settled elsewhere, and OFFSET; 0: nowhere
    side: Tensor  # sign of the last deviation
    looks: Tensor  # how often it changed: so many independent errors were seen
    learnt: Tensor  # readings that the statistics rest on
    age: Tensor  # readings since they stopped; 0 while they learn
    peak: Tensor  # highest evidence since; 0 while they learn


_PLACES = (*[1] * 7, len(BASELINES))  # what begins where the stream begins
_SIZES = (sum(_PLACES), len(BASELINES), *[1] * 8)


class Shift(nn.Module):
    """Evidence that the mean of a channel left its baseline, in standard deviations.

    Inside, streams are the last axis, and what is chosen is multiplied by 0 or 1: see
    `training.networks.rows` for what that saves.
    """

    rate: Tensor  # [M, 1, 1]
    least: Tensor  # [C, 1] variance that any baseline has, standardised units, squared

    def __init__(self, channels: int) -> None:
        """Take C."""
        super().__init__()
        self.channels = channels
        self.widths = [sum(_SIZES) * channels]
        self.register_buffer("rate", 1 / torch.tensor(BASELINES).reshape(-1, 1, 1))
        self.register_buffer("least", torch.full((channels, 1), LEAST_VARIANCE))

    def step(
        self, u: Tensor, state: Sequence[Tensor], settled: Tensor
    ) -> tuple[Tensor, list[Tensor]]:
        """Compare one reading of each stream with its past.

        Args:
            u: [B, C] compressed, standardised readings.
            state: One part, all of `Memory`.
            settled: [B, 1] bool: enough was seen for a deviation to be believed.

        Returns:
            Evidence [B, C], 0 and more, and the state for the next reading.
        """
        u = u.T.unsqueeze(0)
        memory = self.recall(state[0], u)
        fast = memory.fast + FAST * (u - memory.fast)
        deviation, variance = _nearest(fast, memory)
        walk = torch.relu(memory.error_far - memory.error_near) * (DRIFT / (2 * LAG))
        spread = (variance + self.least) * (1 + memory.age / FADES) + walk * memory.age
        freedom = memory.looks + FREEDOM
        back = self._from_known(u, fast, fast - deviation, variance, memory)
        square = torch.minimum(deviation * deviation, back)
        evidence = ((freedom + 1) * log1p(square / (spread * freedom))).sqrt()

        learning = torch.relu(1 - memory.age)
        enough = evidence >= CLOSE * memory.peak + OPEN * learning
        away = enough.to(u.dtype) * settled.to(u.dtype).reshape(1, -1)
        away = away * (memory.age < PATIENCE).to(u.dtype)
        after = self._learn(u, fast, deviation, memory, 1 - away)._replace(
            age=(memory.age + 1) * away, peak=torch.maximum(memory.peak, evidence) * away
        )
        # Where it came to rest is a normal from now on, beside the one that it left.
        settles = (1 - learning) * (1 - away)
        left = (fast - deviation + OFFSET).clamp(min=OFFSET / 2)
        after = after._replace(known=memory.known + settles * (left - memory.known))
        places, rest = apart(torch.cat(after), [_SIZES[0], sum(_SIZES[1:])], 0)
        parts = torch.cat([places + settles * (fast - places), rest])
        return evidence[0].T, [parts.flatten(0, 1).T]

    def recall(self, state: Tensor, u: Tensor) -> Memory:
        """Return what a stream left behind; of one never seen, all zeros, that it begins at `u`."""
        parts = state.T.reshape(sum(_SIZES), self.channels, -1)
        places, *rest = apart(parts, _SIZES, 0)
        learnt = rest[-3]
        begun = places + torch.relu(1 - learnt) * u
        return Memory(*apart(begun, _PLACES, 0), *rest)

    def _from_known(
        self, u: Tensor, fast: Tensor, baseline: Tensor, variance: Tensor, memory: Memory
    ) -> Tensor:
        """Return how far a channel is from where it was before, squared: to be there is no news.

        Where that is far from the baseline one reading tells, by its own variance: the fast mean
        only passes between.
        """
        known, own = memory.known - OFFSET, memory.error_near + self.least
        back, now, way = fast - known, u - known, baseline - known
        part = (variance / own).clamp(min=FAST / 2)  # what noise leaves of itself in the fast mean
        back, now, way = back * back, now * now * part, way * way
        sure = (way > SURE * own).to(u.dtype) * torch.sign(memory.known)
        return back - sure * torch.relu(back - now)

    def _learn(
        self, u: Tensor, fast: Tensor, deviation: Tensor, memory: Memory, learns: Tensor
    ) -> Memory:
        """Return the statistics with this reading in them, where `learns` is 1 and not 0."""
        learnt = memory.learnt + learns
        share = learns / learnt.clamp(min=1)
        off, near, far = fast - memory.baseline, u - memory.near, u - memory.far
        limit = CLIP * memory.error + NEVER * torch.relu(STEADY + 1 - learnt)
        error = torch.minimum(off * off, limit)
        soon, late = learns * (3 / LAG), learns * (1.5 / LAG)
        near_1 = memory.near_1 + soon * (u - memory.near_1)
        near_2 = memory.near_2 + soon * (near_1 - memory.near_2)
        near_3 = memory.near + soon * (near_2 - memory.near)
        far_1 = memory.far_1 + late * (near_3 - memory.far_1)
        far_2 = memory.far_2 + late * (far_1 - memory.far_2)
        turned = learns * (torch.sign(deviation) - memory.side)
        rate = torch.maximum(share, self.rate * learns)
        return Memory(
            fast,
            near_1,
            near_2,
            near_3,
            far_1,
            far_2,
            memory.far + late * (far_2 - memory.far),
            memory.baseline + rate * (near_3 - memory.baseline),
            memory.error + share * (error - memory.error),
            memory.error_near + share * (near * near - memory.error_near),
            memory.error_far + share * (far * far - memory.error_far),
            memory.known,
            memory.side + turned,
            memory.looks + turned.abs().clamp(max=1),
            learnt,
            memory.age,
            memory.peak,
        )


def pooled(evidence: Tensor) -> Tensor:
    """Return the evidence of all channels together, [B, C] -> [B, 1].

    The fourth power lets the strongest speak, and several that agree speak louder.
    """
    square = evidence * evidence
    return total(square * square).sqrt().sqrt()


def _nearest(fast: Tensor, memory: Memory) -> tuple[Tensor, Tensor]:
    """Return deviation and variance of the baseline that foretold each channel best, [1, C, B]."""
    baseline, *others = apart(memory.baseline, [1] * len(BASELINES), 0)
    least, *errors = apart(memory.error, [1] * len(BASELINES), 0)
    for other, error in zip(others, errors, strict=True):
        better = (error < least).to(fast.dtype)
        baseline = baseline + better * (other - baseline)
        least = torch.minimum(least, error)
    return fast - baseline, least
