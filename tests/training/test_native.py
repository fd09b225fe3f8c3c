"""The native engine needs no torch, and fails in one line."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from releases import Python

from mnistnet.data import DataSet, Split
from mnistnet.errors import TrainingError
from mnistnet.inference.predictor import DEFAULT_BUNDLE
from mnistnet.training.draws import draw, generator_for
from mnistnet.training.fit import fit
from mnistnet.training.machine import engine_for
from mnistnet.training.recipe import Recipe

pytestmark = pytest.mark.usefixtures("native_library")

WITHOUT_TORCH = """
import sys
trackers = ("tensorboard", "tensorboardX", "mlflow", "sqlalchemy", "alembic")
sys.modules.update(dict.fromkeys(("torch", "onnx", "onnxscript", "torchinfo", *trackers)))
from mnistnet.cli import cli
for command in (
    ["train", "--name", "one", "--epochs", "2"],
    ["eval", "runs/one", "--against", sys.argv[2], "--quick"],
    ["trials", "--seeds", "1"],
):
    cli([*command, "--data", sys.argv[1]], standalone_mode=False)
"""


def test_training_and_evaluating_import_neither_torch_nor_a_tracker(
    few_digits: Path, tmp_path: Path, python: Python
) -> None:
    done = python(WITHOUT_TORCH, few_digits, DEFAULT_BUNDLE, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("Engine: native, cpu, ") == 2  # of train and trials
    assert re.search(r"Verdict: .* than default \(recipe release\)", done.stdout)
    files = {"batch.png", "mistakes.png", "report.html", "weights.safetensors"}
    assert files < {file.name for file in (tmp_path / "runs" / "one").iterdir()}
    record = json.loads((tmp_path / "runs" / "one" / "origin.json").read_bytes())["environment"]
    assert record["engine"] == "native"
    assert all(record[name] for name in ("precision", "threads", "instruction_set", "compiler"))


def test_what_does_not_fit_together_is_refused_at_the_border(mnist: DataSet) -> None:
    engine = engine_for(Recipe(engine="native", threads=1))
    recipe = Recipe(blur=1, noise=1)
    draws = draw(recipe, generator_for(0, 1), 50)
    assert draws.downsample is not None
    assert draws.noise is not None
    beyond = replace(draws.noise, row=draws.noise.row + 50)
    for wrong in (
        replace(draws, downsample=draws.downsample + np.uint8(200)),
        replace(draws, noise=beyond),
    ):
        with pytest.raises(TrainingError, match="failed: a random draw is out of its range"):
            engine.augment(mnist.train.images[:50], wrong)


def test_a_loss_that_is_no_number_is_an_error_that_names_the_batch(mnist: DataSet) -> None:
    recipe = Recipe(learning_rate=10, warmup=0, weight_decay=10, epochs=40, batch_size=500)
    with pytest.raises(TrainingError, match=r"the loss is (nan|inf) in epoch \d+, batch \d+: "):
        fit(recipe, Split(mnist.train.images[:2000], mnist.train.labels[:2000]), engine_for(recipe))
