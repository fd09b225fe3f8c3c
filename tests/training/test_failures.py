"""What can go wrong in training ends in one line and leaves no run behind."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from mnistnet.data import Split
from mnistnet.errors import RecipeError, TrainingError
from mnistnet.training.distillation import from_labels
from mnistnet.training.loop import fit
from mnistnet.training.recipe import Recipe

if TYPE_CHECKING:
    from mnistnet.data import DataSet


def test_a_batch_larger_than_the_data_is_refused(mnist: DataSet) -> None:
    few = Split(mnist.train.images[:50], mnist.train.labels[:50])
    with pytest.raises(RecipeError, match="batch_size is 128, but there are only 50"):
        fit(Recipe(), few)


def test_a_diverging_loss_is_reported_with_where_it_happened(mnist: DataSet) -> None:
    few = Split(mnist.train.images[:2000], mnist.train.labels[:2000])
    with pytest.raises(TrainingError, match="in epoch 1 by batch 20"):
        fit(Recipe(batch_size=100, learning_rate=10.0, weight_decay=10.0, warmup=0.0), few)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device here")
def test_a_device_that_is_not_there_is_refused(mnist: DataSet) -> None:
    with pytest.raises(RecipeError, match="device is cuda"):
        fit(Recipe(device="cuda"), mnist.train)


def test_label_smoothing_is_cross_entropy_against_smoothed_targets() -> None:
    logits, labels = torch.randn(50, 10), torch.tensor(np.arange(50) % 10)
    expected = torch.nn.CrossEntropyLoss(label_smoothing=0.1)(logits, labels)
    ours = torch.nn.CrossEntropyLoss()(logits, from_labels(labels, 0.1))
    torch.testing.assert_close(ours, expected)
