"""A bottleneck made of memories: only what was seen in training can be reconstructed."""

import torch
from torch import Tensor, nn

from training.config import Network as Sizes
from training.networks.cells import Lstm
from training.networks.heads import Heads
from training.networks.recurrent import Recurrent
from training.networks.rows import total

ITEMS = 16  # memories for each unit of `bottleneck`
SHARPNESS = 10.0  # cosines are so alike that a softmax of them alone recalls everything at once
ENTROPY = 2e-4  # weight in the loss, from the paper
FLOOR = 1e-4


class MemoryHeads(Heads):
    """Heads whose reconstruction is a sparse mixture of learnt memories.

    Gong et al., "Memorizing Normality to Detect Anomaly: Memory-augmented Deep Autoencoder"
    (ICCV 2019). Weights below 1 / items are shrunk to nothing; the shrinkage is steep, where the
    paper's jumps, because rounding must not switch a memory on or off.
    """

    def __init__(self, channels: int, sizes: Sizes, features: int, dropout: float) -> None:
        """Take the widths: C, those of the configuration, F; and what is left out in training."""
        super().__init__(channels, sizes, features, dropout)
        self.squeeze = nn.Linear(features, sizes.hidden)
        self.memories = nn.Parameter(torch.randn(ITEMS * sizes.bottleneck, sizes.hidden))
        self.expand = nn.Linear(sizes.hidden, sizes.hidden)

    def code(self, features: Tensor) -> Tensor:
        """Recall what is like the features: [..., F] -> [..., H]."""
        recalled = self.address(self.dropout(features)) @ self.memories
        return torch.tanh(self.expand(recalled))

    def address(self, features: Tensor) -> Tensor:
        """Return the weight of every memory, sparse, with sum 1: [..., F] -> [..., items]."""
        asked = _unit(torch.tanh(self.squeeze(features)))
        likeness = asked @ _unit(self.memories).T
        weights = torch.softmax(SHARPNESS * likeness, -1)
        over = weights - 1 / len(self.memories)
        kept = torch.relu(over) * weights / (over.abs() + 0.1 / len(self.memories))
        return kept / total(kept).clamp(min=FLOOR)


def _unit(vectors: Tensor) -> Tensor:
    return vectors / (total(vectors.square()) + FLOOR**2).sqrt()


class Memory(Recurrent):
    """An LSTM with `MemoryHeads`."""

    heads: MemoryHeads

    def __init__(self, channels: int, sizes: Sizes, dropout: float) -> None:
        """Take C, the widths, and what is left out in training."""
        super().__init__(channels, sizes, dropout, Lstm, MemoryHeads)

    def penalty(self, features: Tensor) -> Tensor:
        """Return the weighted mean entropy of the addressing: few memories should do."""
        weights = self.heads.address(features)
        # Where a weight is nothing the logarithm must not be looked at, nor its slope.
        entropy = -(weights * torch.log(weights.clamp(min=FLOOR))).sum(-1)
        return ENTROPY * entropy.mean()
