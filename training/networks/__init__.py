"""The family of networks: all keep the contract of `contract.Network`."""

from training.config import Network as Sizes
from training.networks.cells import Lstm
from training.networks.contract import Network
from training.networks.recurrent import Recurrent

__all__ = ["Network", "build"]


def build(channels: int, sizes: Sizes, dropout: float = 0.0) -> Network:
    """Make the network that a configuration names.

    Args:
        channels: C.
        sizes: Kind and widths.
        dropout: Share of features left out while training.
    """
    return Recurrent(channels, sizes, dropout, Lstm)
