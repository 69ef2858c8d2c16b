"""The shape of a stream's last 32 readings: short means, the older the longer.

Axes: B streams, C channels, D = 6C numbers a window.
"""

import torch
from torch import Tensor

from training.networks.rings import push

LONGEST = 32  # readings
BLOCKS = (1, 1, 2, 4, 8, 16)  # readings each mean is over, the newest first


def window(u: Tensor, ring: Tensor) -> tuple[Tensor, Tensor]:
    """Return the window of the newest reading, [B, D], and the ring for the next one.

    Args:
        u: [B, C].
        ring: [B, 31 C] the readings before it, newest first.
    """
    seen, ring = push(ring, u)
    return blocks(seen, u.shape[1]), ring


def blocks(seen: Tensor, channels: int) -> Tensor:
    """Return the means of each block of windows, newest first: [B, 32 C] -> [B, D]."""
    means, first = [], 0
    for size in BLOCKS:
        block, width = seen[:, first * channels : (first + size) * channels], size
        while width > 1:  # pairs, so that the order of additions is the same everywhere
            width //= 2
            block = block[:, : width * channels] + block[:, width * channels :]
        means.append(block / size if size > 1 else block)
        first += size
    return torch.cat(means, 1)
