"""The shape of a stream's last 32 readings: short means, the older the longer.

Axes: B streams, C channels, D = 6C numbers a window.
"""

import torch
from torch import Tensor

from training.networks.rows import apart

LONGEST = 32  # readings
BLOCKS = (1, 1, 2, 4, 8, 16)  # readings each mean is over, the newest first


def window(u: Tensor, sums: Tensor) -> tuple[Tensor, Tensor]:
    """Return the window of the newest reading, [B, D], and the sums for the next one.

    A sum over a block that ended n readings ago is one that was taken n readings ago, so each
    reading adds two blocks to the next longer one and no more.

    Args:
        u: [B, C].
        sums: [B, 31 C] before it, newest first: the last reading, the last 2 sums over 2
            readings, the last 4 over 4, 8 over 8 and 16 over 16.
    """
    channels, longer = u.shape[1], BLOCKS[2:]
    widths = [channels * part for size in longer for part in (size - 1, 1)]
    last, *kept = apart(sums, [channels, *widths])
    means, after, sum_of = [u, last], [u], u + last
    for size, stays, due in zip(longer, kept[::2], kept[1::2], strict=True):
        means.append(due / size)
        after += [sum_of, stays]
        sum_of = sum_of + due
    return torch.cat(means, 1), torch.cat(after, 1)


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
