"""Train the same network conventionally, as in a course; `race.py` compares with it.

    python benchmarks/reference.py [--data data/mnist] [--out reference.safetensors]

A DataLoader, transforms of one Pillow picture at a time (±7° rotation, ±5 % scale), batches of
64, Adam at 0.003, float32, one epoch, then the test set and a file. Nothing here is slow on
purpose; it is what the conventional parts cost.
"""

from __future__ import annotations

import argparse
import random
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save_file
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset

from mnistnet import data as datasets
from mnistnet.model.architecture import MEAN, STD
from mnistnet.model.network import MnistNet

if TYPE_CHECKING:
    from mnistnet.data import Split


class Digits(Dataset[tuple[torch.Tensor, int]]):
    """A dataset of single pictures: Pillow, optional augmentation, normalised tensors."""

    def __init__(self, split: Split, *, augment: bool) -> None:
        self.split, self.augment = split, augment

    def __len__(self) -> int:
        return len(self.split)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        """Return picture and label number `index`: float32 (1, 28, 28), and 0–9."""
        picture = Image.fromarray(self.split.images[index])
        if self.augment:
            picture = _rotated_and_scaled(picture)
        pixels = torch.from_numpy(np.asarray(picture, dtype=np.float32) / 255)
        return ((pixels - MEAN) / STD).unsqueeze(0), int(self.split.labels[index])


def _rotated_and_scaled(picture: Image.Image) -> Image.Image:
    """Rotate by up to 7° and scale by up to 5 % about the centre, as torchvision's RandomAffine."""
    picture = picture.rotate(random.uniform(-7, 7), Image.Resampling.BILINEAR)  # noqa: S311
    s = 1 / random.uniform(0.95, 1.05)  # noqa: S311
    shift = 14 * (1 - s)
    matrix = (s, 0, shift, 0, s, shift)
    return picture.transform((28, 28), Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR)


def main() -> None:
    """Train for one epoch, print the test accuracy, save the weights."""
    options = _options()
    started = time.perf_counter()
    random.seed(options.seed)
    torch.manual_seed(options.seed)
    dataset = datasets.load(options.data)
    net = MnistNet()
    _train(net, DataLoader(Digits(dataset.train, augment=True), batch_size=64, shuffle=True))
    correct = _count_correct(net, DataLoader(Digits(dataset.test, augment=False), batch_size=64))
    print(f"Test accuracy: {correct / len(dataset.test):.2%}")
    save_file(net.state_dict(), options.out)
    print(f"Wall time: {time.perf_counter() - started:.1f} s")


def _train(net: MnistNet, batches: DataLoader[tuple[torch.Tensor, int]]) -> None:
    optimiser = torch.optim.Adam(net.parameters(), lr=0.003)
    net.train()
    for x, y in batches:
        optimiser.zero_grad()
        loss = F.nll_loss(net(x), y)
        torch.autograd.backward(loss)
        optimiser.step()


@torch.no_grad()
def _count_correct(net: MnistNet, batches: DataLoader[tuple[torch.Tensor, int]]) -> int:
    net.eval()
    return sum(int((net(x).argmax(1) == y).sum()) for x, y in batches)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path)
    parser.add_argument("--out", type=Path, default=Path("reference.safetensors"))
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


if __name__ == "__main__":
    main()
