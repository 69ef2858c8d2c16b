"""The family of networks: all keep the contract of `contract.Network`."""

from collections.abc import Callable
from functools import partial

from training.config import Kind
from training.config import Network as Sizes
from training.networks.cells import Gru, Lstm, Rnn
from training.networks.contract import Network
from training.networks.feedforward import Persistence, Tcn, Transformer
from training.networks.memory import Memory
from training.networks.recurrent import Attention, Convolution, Recurrent
from training.networks.windowed import Bidirectional, EncoderDecoder

__all__ = ["Network", "build"]

_FAMILY: dict[Kind, Callable[[int, Sizes, float], Network]] = {
    "rnn": partial(Recurrent, cell=Rnn),
    "lstm": partial(Recurrent, cell=Lstm),
    "gru": partial(Recurrent, cell=Gru),
    "encoder_decoder": EncoderDecoder,
    "bidirectional": Bidirectional,
    "attention": Attention,
    "convolution": Convolution,
    "memory": Memory,
    "tcn": Tcn,
    "transformer": Transformer,
    "persistence": lambda channels, sizes, _: Persistence(channels, sizes),
}


def build(channels: int, sizes: Sizes, dropout: float = 0.0) -> Network:
    """Make the network that a configuration names.

    Args:
        channels: C.
        sizes: Kind and widths.
        dropout: Share of features left out while training.
    """
    return _FAMILY[sizes.kind](channels, sizes, dropout)
