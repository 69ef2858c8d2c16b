"""Did a machine say what never follows what it said before? Surprise at symbols, summed up.

Each symbol of a sequence may be common and the sequence impossible. If a forecast is right, a
surprise of n nats comes about once in e^n readings. What is above the usual is summed and falls
off, so that several unlikely symbols in a row count (Page, "Continuous Inspection Schemes", 1954).
Axes: B streams, E event channels.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from training.networks.rows import total

HELD = 10.0  # readings over which a surprise falls off
# In units of the state score. With half of it, in a plant with telemetry, 5 of 14 lone symbols that
# were impossible were told at once; with this, 14; with more, no more.
NAT = 1.0
LEAST_ENTROPY = 0.05  # nats; a channel that nearly always says the same is known by that


class Symbols(nn.Module):
    """The sum of surprises beyond what is usual on held-out rows."""

    usual: Tensor  # [E] mean surprise on held-out rows, nats: the cross-entropy
    entropy: Tensor  # [E] of the symbols' frequencies there: what these alone would do
    deviation: Tensor  # [E] of the surprise, nats
    trust: Tensor  # [] weight, from how much normal streams surprise

    def __init__(self, events: int) -> None:
        """Take E."""
        super().__init__()
        self.widths = [events]
        self.register_buffer("usual", torch.zeros(events))
        self.register_buffer("entropy", torch.zeros(events))
        self.register_buffer("deviation", torch.ones(events))
        self.register_buffer("trust", torch.ones(()))

    @property
    def skill(self) -> Tensor:
        """[E] how much of the entropy the forecast takes away: 0 if no more than frequencies."""
        return (1 - self.usual / self.entropy.clamp(min=LEAST_ENTROPY)).clamp(0, 1)

    def residual(self, nats: Tensor) -> Tensor:
        """Return surprise [..., E] beyond the usual, in deviations of what it is on held-out rows.

        Positive where a symbol is less likely than symbols usually are.
        """
        return (nats - self.usual) / self.deviation

    def step(self, residual: Tensor, state: Sequence[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """Judge one reading's symbols of each stream.

        Args:
            residual: [B, E]; 0 where missing.
            state: The sum, [B, E] nats.

        Returns:
            Evidence [B, 1], 0 and more, and the state for the next reading.
        """
        summed = torch.relu(state[0] * (1 - 1 / HELD) + residual * self.deviation)
        return self.trust * NAT * total(self.skill * summed), [summed]
