"""A recurrent cell that reads the stream for ever; its hidden state is the features."""

from torch import Tensor

from training.config import Network as Sizes
from training.networks.cells import Cell
from training.networks.heads import Headed, Heads


class Recurrent(Headed):
    """One cell, and the heads on its hidden state."""

    def __init__(self, channels: int, sizes: Sizes, dropout: float, cell: type[Cell]) -> None:
        """Take C, the widths, what is left out in training, and the kind of cell."""
        super().__init__()
        self.channels, self.window = channels, sizes.window
        self.cell = cell(channels, sizes.hidden)
        self.heads = Heads(channels, sizes, sizes.hidden, dropout)
        self.cell.initialise()
        self.state_width = self.cell.state_width

    def step(self, z: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Read one reading of each stream."""
        return self.cell.step(z, state)

    def sequence(self, z: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Read whole sequences."""
        return self.cell.sequence(z, state)
