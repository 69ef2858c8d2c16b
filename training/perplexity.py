"""How well a network foretells symbols, and what that makes of its surprise.

Perplexity is e to the mean surprise in nats: between so many equally likely symbols a forecast
leaves the choice open. Axes: N readings, E event channels, Q symbols of all of them.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from detector.records import Doubles
from training.lanes import Batch
from training.model import Autoencoder
from training.told import Read

LEAST_DEVIATION = 0.1  # nats; where nothing ever surprises, a trifle is no event


def weigh_symbols(model: Autoencoder, reads: Iterable[tuple[Read, Batch]]) -> None:
    """Set what surprise at symbols is usual on held-out rows, and how well frequencies do there.

    Args:
        model: Its numbers change; one without event channels has none.
        reads: What it made of batches of these rows.
    """
    alphabets, symbols = model.alphabets, model.scoring.symbols
    if alphabets is None or symbols is None:
        return
    count, sums, squares = (torch.zeros(len(alphabets.sizes)).double() for _ in range(3))
    seen = torch.zeros(alphabets.width).double()
    for read, batch in reads:
        missing = read.missing.index_select(-1, alphabets.events)
        known = ~missing & torch.from_numpy(batch.row >= 0).unsqueeze(-1)
        hot, logits = (part[..., model.channels :] for part in (read.z, read.forecast))
        nats = torch.where(known, alphabets.nats(hot, logits), 0.0).double().flatten(0, 1)
        count += known.flatten(0, 1).sum(0)
        sums, squares = sums + nats.sum(0), squares + nats.square().sum(0)
        seen += (
            (hot * known.repeat_interleave(torch.tensor(alphabets.sizes), -1)).flatten(0, 1).sum(0)
        )
    mean = sums / count.clamp(min=1)
    spread = (squares / count.clamp(min=1) - mean.square()).clamp(min=0).sqrt()
    # Of a channel that was never heard nothing is known.
    symbols.usual.copy_(torch.where(count > 0, mean, torch.tensor(alphabets.sizes).log()))
    symbols.deviation.copy_(spread.clamp(min=LEAST_DEVIATION))
    split = torch.split(seen, alphabets.sizes)
    symbols.entropy.copy_(torch.tensor([_entropy(part.numpy()) for part in split]))


def perplexities(model: Autoencoder, channels: Sequence[str]) -> dict[str, dict[str, float]]:
    """Return the held-out perplexity of each event channel, by name.

    `network` is that of the network; `frequencies` the least that can be had by knowing only how
    often each symbol comes.

    Args:
        model: Calibrated.
        channels: [C] names.
    """
    if model.alphabets is None or model.scoring.symbols is None:
        return {}
    symbols = model.scoring.symbols
    pairs = torch.stack([symbols.usual, symbols.entropy], 1).exp().tolist()
    names = [channels[c] for c in model.alphabets.events.tolist()]
    return {
        name: {"network": network, "frequencies": frequencies}
        for name, (network, frequencies) in zip(names, pairs, strict=True)
    }


def lines(record: Mapping[str, object]) -> list[str]:
    """Return a line for each event channel, from the training record of a manifest."""
    quality: Any = record.get("quality", {})
    return [
        f"{name}: perplexity {of['network']:.3g} on held-out rows, "
        f"by frequencies alone {of['frequencies']:.3g}"
        for name, of in quality.get("perplexity", {}).items()
    ]


def _entropy(counts: Doubles) -> float:
    """Return the entropy of frequencies, nats."""
    share = counts[counts > 0] / max(counts.sum(), 1.0)
    return float(-(share * np.log(share)).sum())
