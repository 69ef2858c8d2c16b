"""What becomes of features: a reconstruction through a bottleneck, and a forecast."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from training.config import Network as Sizes
from training.networks.contract import Network


class Heads(nn.Module):
    """Features must pass a narrow layer before they reconstruct; they forecast directly.

    What does not fit through the bottleneck is not reconstructed: that is what surprises. It is
    in place of the repeated state of Malhotra et al., "LSTM-based Encoder-Decoder for
    Multi-sensor Anomaly Detection" (2016), so that every reading is scored as it comes.
    """

    def __init__(self, channels: int, sizes: Sizes, features: int, dropout: float) -> None:
        """Take the widths: C, those of the configuration, F; and what is left out in training."""
        super().__init__()
        self.channels, self.window = channels, sizes.window
        self.dropout = nn.Dropout(dropout)
        self.squeeze = nn.Linear(features, sizes.bottleneck)
        self.expand = nn.Linear(sizes.bottleneck, sizes.hidden)
        self.reconstruct = nn.Linear(sizes.hidden, sizes.window * channels)
        self.predict = nn.Linear(features, channels)

    def newest(self, features: Tensor) -> Tensor:
        """Reconstruct the newest reading: [..., F] -> [..., C]."""
        weight, bias = self.reconstruct.weight, self.reconstruct.bias
        code = self.code(features)
        return functional.linear(code, weight[: self.channels], bias[: self.channels])

    def windows(self, features: Tensor) -> Tensor:
        """Reconstruct the newest W readings, newest first: [..., F] -> [..., W, C]."""
        flat: Tensor = self.reconstruct(self.code(features))
        return flat.reshape(*features.shape[:-1], self.window, self.channels)

    def ahead(self, features: Tensor) -> Tensor:
        """Forecast the next reading: [..., F] -> [..., C]."""
        forecast: Tensor = self.predict(self.dropout(features))
        return forecast

    def code(self, features: Tensor) -> Tensor:
        """Squeeze features through the bottleneck: [..., F] -> [..., H]."""
        return torch.tanh(self.expand(torch.tanh(self.squeeze(self.dropout(features)))))


class Headed(Network):
    """A network that is an encoder and `Heads`; a subclass reads, the heads say."""

    heads: Heads

    def newest(self, features: Tensor) -> Tensor:
        """Reconstruct the newest reading: [..., F] -> [..., C]."""
        return self.heads.newest(features)

    def windows(self, features: Tensor) -> Tensor:
        """Reconstruct the newest W readings, newest first: [..., F] -> [..., W, C]."""
        return self.heads.windows(features)

    def ahead(self, features: Tensor) -> Tensor:
        """Forecast the next reading: [..., F] -> [..., C]."""
        return self.heads.ahead(features)
