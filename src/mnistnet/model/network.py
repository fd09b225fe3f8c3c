"""The network: 20,826 parameters from a normalised picture to ten log-probabilities.

    >>> net = MnistNet()
    >>> net(normalise(images_uint8)).shape        # images (N, 28, 28), ink bright on dark
    torch.Size([N, 10])

Five convolutions without padding shrink 28×28 to 2×2; every one but the last is followed by
GELU and BatchNorm, and so is each pooling. `mnistnet summary` prints the layers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor, nn
from torch.nn import functional as F

from mnistnet.errors import WeightsError

if TYPE_CHECKING:
    import os
    from typing import Self

MEAN = 0.1307  # of the 60,000 training images, ink scaled to 0–1
STD = 0.3081


def normalise(images: Tensor) -> Tensor:
    """Turn pictures into what the network takes.

    Args:
        images: uint8 (N, 28, 28), ink bright on dark, 0–255.

    Returns:
        float32 (N, 1, 28, 28), of zero mean and unit deviation over the training set.
    """
    # One multiplication and one addition; written so, it exports to two nodes.
    return images.unsqueeze(1).float() * (1 / (255 * STD)) - MEAN / STD


class MnistNet(nn.Module):
    """A convolutional network for 28×28 digits.

    Args:
        dropout: probability with which a whole channel of the last feature map is dropped
            during training.
    """

    def __init__(self, dropout: float = 0.0) -> None:
        super().__init__()
        self.features = nn.Sequential(  # (N, 1, 28, 28)
            *_convolution(1, 8),  # (N, 8, 26, 26)
            *_convolution(8, 16),  # (N, 16, 24, 24)
            *_pooling(16),  # (N, 16, 12, 12)
            *_convolution(16, 32),  # (N, 32, 10, 10)
            *_pooling(32),  # (N, 32, 5, 5)
            *_convolution(32, 32),  # (N, 32, 3, 3)
            nn.Conv2d(32, 32, kernel_size=2),  # (N, 32, 2, 2)
            nn.Dropout2d(dropout),
            nn.Flatten(),  # (N, 128)
        )
        self.classifier = nn.Sequential(nn.Linear(128, 10))

    def forward(self, x: Tensor) -> Tensor:
        """Score pictures.

        Args:
            x: normalised floats (N, 1, 28, 28), see `normalise`.

        Returns:
            Log-probabilities (N, 10), float32 whatever the precision of the layers.
        """
        logits: Tensor = self.classifier(self.features(x))
        return F.log_softmax(logits.float(), dim=1)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Give back a trained network, ready to predict (in evaluation mode, on the CPU).

        Args:
            path: a `weights.safetensors`, or the run's or bundle's folder that holds one.

        Raises:
            WeightsError: there is no such file, or it does not hold this network's weights.
        """
        from pathlib import Path

        from safetensors import SafetensorError
        from safetensors.torch import load_file

        file = Path(path)
        file = file / "weights.safetensors" if file.is_dir() else file
        if not file.is_file():
            raise WeightsError(f"{file}: no such file; train a network first: mnistnet train")
        net = cls()
        try:
            net.load_state_dict(load_file(file))
        except (SafetensorError, RuntimeError, OSError, ValueError) as error:
            reason = str(error).splitlines()[0]
            raise WeightsError(f"{file}: does not hold MnistNet's weights ({reason})") from error
        return net.eval()


def _convolution(inputs: int, outputs: int) -> tuple[nn.Module, ...]:
    return nn.Conv2d(inputs, outputs, kernel_size=3), nn.GELU(), nn.BatchNorm2d(outputs)


def _pooling(channels: int) -> tuple[nn.Module, ...]:
    return nn.MaxPool2d(2), nn.GELU(), nn.BatchNorm2d(channels)


def parameter_count(net: nn.Module) -> int:
    """Count the trainable parameters of a network."""
    return sum(p.numel() for p in net.parameters() if p.requires_grad)
