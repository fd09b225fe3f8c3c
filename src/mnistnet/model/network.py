"""The network: 20,826 parameters from a normalised image to ten log-probabilities.

    >>> net = MnistNet()
    >>> net(normalise(images_uint8)).shape        # images (N, 28, 28), ink bright on dark
    torch.Size([N, 10])

Its layers are those of `architecture.py`; `mnistnet summary` prints torchinfo's table of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor, nn
from torch.nn import functional as F

from mnistnet.errors import WeightsError
from mnistnet.model.architecture import MEAN, SIDE, STD, layers
from mnistnet.text import first_line

if TYPE_CHECKING:
    import os
    from typing import Self

    from mnistnet.model.architecture import Layer


def normalise(images: Tensor) -> Tensor:
    """Scale and shift images into the network's input.

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
        *maps, classifier = layers()
        self.features = nn.Sequential(  # (N, 1, 28, 28)
            *(module for layer in maps for module in _modules(layer)),  # (N, 32, 2, 2)
            nn.Dropout2d(dropout),
            nn.Flatten(),  # (N, 128)
        )
        self.classifier = nn.Sequential(
            nn.Linear(classifier.inputs * classifier.kernel**2, classifier.channels)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Compute the log-probabilities of images.

        Args:
            x: normalised floats (N, 1, 28, 28), see `normalise`.

        Returns:
            Log-probabilities (N, 10), float32 whatever the precision of the layers.
        """
        logits: Tensor = self.classifier(self.features(x))
        return F.log_softmax(logits.float(), dim=1)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Load a trained network, in evaluation mode, on the CPU.

        Args:
            path: a `weights.safetensors`, or the run's or bundle's folder that holds one.

        Raises:
            WeightsError: there is no such file, it does not hold this network's weights, or they
                are not finite.
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
            raise WeightsError(
                f"{file}: does not hold MnistNet's weights ({first_line(error)}); train again"
            ) from error
        net.check_finite(file)
        return net.eval()

    def check_finite(self, where: object) -> None:
        """Check every parameter and statistic; `where` they are is for the message.

        Raises:
            WeightsError: one is infinite or not a number.
        """
        if not all(tensor.isfinite().all() for tensor in self.state_dict().values()):
            raise WeightsError(f"{where}: weights are not finite: training diverged; train again")


def _modules(layer: Layer) -> list[nn.Module]:
    modules: list[nn.Module] = [
        nn.MaxPool2d(layer.kernel)
        if layer.kind == "pool"
        else nn.Conv2d(layer.inputs, layer.channels, layer.kernel)
    ]
    return [*modules, nn.GELU(), nn.BatchNorm2d(layer.channels)] if layer.normalised else modules


def summary_table() -> str:
    """Return torchinfo's table of the network: shapes, parameters, multiply-adds."""
    from torchinfo import summary

    columns = ("output_size", "num_params", "mult_adds")
    info = summary(MnistNet(), (1, 1, SIDE, SIDE), col_names=columns, verbose=0, device="cpu")
    # torchinfo prints the name of an enum here instead of its unit.
    return str(info).replace("mult-adds (Units.MEGABYTES)", "mult-adds (M)")
