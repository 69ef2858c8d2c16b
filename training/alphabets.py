"""Channels of symbols (status codes, types of events): what a network reads, and what it says.

A code is no quantity: 3 is not between 2 and 4. The network reads each symbol as a column of its
own, one-hot, and for each it forecasts a logit; their softmax is how likely that symbol is next,
as in Graves, "Generating Sequences With Recurrent Neural Networks" (2013). Axes: C channels, E of
them of events, K symbols of one of these, Q of all of them.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

from training.evidence.curves import log1p
from training.networks.rows import total

FLOOR = 1e-6  # probability; nothing surprises more than 13.8 nats, an unknown code as much as that


class Alphabets(nn.Module):
    """The symbols of all event channels; no number in it is learnt.

    Attributes:
        sizes: [E] K of each event channel, in the order of the channels.
        width: Q.
    """

    events: Tensor  # [E] their channels
    owner: Tensor  # [Q] the channel of each symbol
    codes: Tensor  # [Q] the code that means it
    place: Tensor  # [C] where each channel is among C channels and E more

    def __init__(self, channels: int, symbols: Mapping[int, int]) -> None:
        """Take C, and K of each channel that is one of events."""
        super().__init__()
        chosen = sorted(symbols)
        self.sizes = [symbols[c] for c in chosen]
        self.width = sum(self.sizes)
        place = {c: channels + e for e, c in enumerate(chosen)}
        for name, value in {
            "events": torch.tensor(chosen),
            "owner": torch.tensor(chosen).repeat_interleave(torch.tensor(self.sizes)),
            "codes": torch.cat([torch.arange(float(size)) for size in self.sizes]),
            "place": torch.tensor([place.get(c, c) for c in range(channels)]),
        }.items():
            self.register_buffer(name, value)

    def encode(self, x: Tensor, logits: Tensor) -> Tensor:
        """Return symbols one-hot, [..., Q]: all 0 for an unknown code.

        Args:
            x: [..., C] readings, NaN where missing.
            logits: [..., Q] of the forecast; where a symbol is missing, its probabilities stand.
        """
        seen = x.index_select(-1, self.owner)
        hot = (seen == self.codes).to(logits.dtype)
        return torch.where(torch.isnan(seen), self.probability(logits), hot)

    def probability(self, logits: Tensor) -> Tensor:
        """Return how likely each symbol is, [..., Q]: a softmax for each channel."""
        return torch.cat([torch.softmax(part, -1) for part in self._each(logits)], -1)

    def likely(self, logits: Tensor) -> Tensor:
        """Return the code of the most likely symbol of each event channel, [..., E]."""
        codes = [part.argmax(-1, keepdim=True) for part in self._each(logits)]
        return torch.cat(codes, -1).to(logits.dtype)

    def nats(self, hot: Tensor, logits: Tensor) -> Tensor:
        """Return the surprise -ln p at each event channel's symbol, [..., E].

        Args:
            hot: [..., Q] the symbols, one-hot.
            logits: [..., Q] of their forecast.
        """
        seen = [total(part) for part in self._each(self.probability(logits) * hot)]
        return log1p(torch.relu(1 / torch.cat(seen, -1).clamp(min=FLOOR) - 1))

    def cross_entropy(self, logits: Tensor, codes: Tensor, counts: Tensor) -> Tensor:
        """Return the mean surprise over all known symbols, nats; what training makes small.

        Args:
            logits: [L, T, Q] of the forecasts.
            codes: [L, T, E] of what came; unknown and missing (NaN) ones do not count.
            counts: [L, T] bool.
        """
        loss, known = logits.new_zeros(()), 0
        for part, code in zip(self._each(logits), codes.unbind(-1), strict=True):
            counted = counts & (code >= 0) & (code < part.shape[-1]) & (code == code.floor())
            target = torch.where(counted, code, -100).long()  # what torch leaves out
            loss = loss + functional.cross_entropy(
                part.flatten(0, -2), target.flatten(), ignore_index=-100, reduction="sum"
            )
            known += int(counted.sum())
        return loss / max(known, 1)

    def put(self, values: Tensor, told: Tensor) -> Tensor:
        """Return values [..., C] with those of the event channels, [..., E], in their places."""
        return torch.cat([values, told], -1).index_select(-1, self.place)

    def _each(self, wide: Tensor) -> tuple[Tensor, ...]:
        """Take all symbols apart, [..., Q] -> E times [..., K]."""
        return torch.split(wide, self.sizes, -1)
