"""The shape of a stream's last 32 readings: short means, the older the longer.

Axes: B streams, C channels, D = 6C numbers a window.
"""

import torch
from torch import Tensor

from training.networks.rings import push

LONGEST = 32  # readings
BLOCKS = [1, 1, 2, 4, 8, 16]  # readings each mean is over, the newest first


def window(u: Tensor, ring: Tensor) -> tuple[Tensor, Tensor]:
    """Return the window of the newest reading, [B, D], and the ring for the next one.

    Args:
        u: [B, C].
        ring: [B, 31 C] the readings before it, newest first.
    """
    seen, ring = push(ring, u)
    return blocks(seen.reshape(u.shape[0], LONGEST, u.shape[1])), ring


def blocks(seen: Tensor) -> Tensor:
    """Return the means of each block of a window, newest first: [..., 32, C] -> [..., D]."""
    means = []
    for block, size in zip(torch.split(seen, BLOCKS, -2), BLOCKS, strict=True):
        half = size
        while half > 1:  # pairs, so that the order of additions is the same everywhere
            half //= 2
            block = block[..., :half, :] + block[..., half:, :]  # noqa: PLW2901
        means.append(block / size)
    return torch.cat(means, -2).flatten(-2)
