"""The same seed gives the same weights, bit for bit, also through an interruption."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save

from mnistnet.data import DataSet, Split
from mnistnet.errors import RunError
from mnistnet.files import sha256
from mnistnet.training import train as pipeline
from mnistnet.training.loop import fit
from mnistnet.training.recipe import Recipe

if TYPE_CHECKING:
    from pathlib import Path

    from mnistnet.training.loop import Progress

SHORT = Recipe(epochs=2, batch_size=100)
TAUGHT = SHORT.replacing(teachers=2)  # six epochs in all


@pytest.fixture
def few_digits(mnist: DataSet, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first 1,000 real digits to train on, and 500 to judge on: ten steps an epoch."""
    train = Split(mnist.train.images[:1000], mnist.train.labels[:1000])
    test = Split(mnist.test.images[:500], mnist.test.labels[:500])
    few = DataSet(train, test, source="a part of MNIST")
    monkeypatch.setattr(pipeline.datasets, "load", lambda *_, **__: few)


def _weights(result: pipeline.TrainResult) -> str:
    return sha256(result.run.weights_file.read_bytes())


@pytest.mark.parametrize(
    "how",
    [
        {"engine": "auto"},  # compiled, where there is a compiler
        {"engine": "torch", "precision": "float32"},
        {"engine": "torch", "precision": "bfloat16"},
    ],
    ids=lambda how: "-".join(how.values()),
)
@pytest.mark.parametrize("threads", [1, 2])
def test_the_same_seed_gives_the_same_bits(
    mnist: DataSet, how: dict[str, str], threads: int
) -> None:
    few = Split(mnist.train.images[:1000], mnist.train.labels[:1000])
    recipe = TAUGHT.replacing(epochs=1, threads=threads, **how)
    one, two, other = (
        sha256(save(fit(recipe.replacing(seed=s), few).state_dict())) for s in (0, 0, 1)
    )
    assert one == two
    assert one != other


def _interrupt_in_epoch(epoch: int) -> pipeline.Callable[[Progress], None]:
    def on_progress(progress: Progress) -> None:
        if progress.epoch == epoch:
            raise KeyboardInterrupt

    return on_progress


@pytest.mark.usefixtures("few_digits")
def test_an_interrupted_run_resumes_to_the_bits_of_an_uninterrupted_one(tmp_path: Path) -> None:
    whole = pipeline.train(SHORT, runs=tmp_path, name="whole")
    with pytest.raises(pipeline.Interrupted, match=r"epoch 2 of 2.*--name cut --resume"):
        pipeline.train(SHORT, runs=tmp_path, name="cut", on_progress=_interrupt_in_epoch(2))
    resumed = pipeline.resume(name="cut", runs=tmp_path)
    assert _weights(resumed) == _weights(whole)
    assert resumed.run.metrics() == whole.run.metrics()
    assert sorted(p.name for p in resumed.run.folder.iterdir()) == sorted(
        p.name for p in whole.run.folder.iterdir()
    )


@pytest.mark.parametrize(
    ("epoch", "stage"),
    [(2, "teacher 1 of 2"), (3, "teacher 2 of 2"), (5, "the last network"), (6, "its last epoch")],
)
@pytest.mark.usefixtures("few_digits")
def test_a_run_with_teachers_resumes_from_every_stage_to_the_same_bits(
    tmp_path: Path, epoch: int, stage: str
) -> None:
    whole = pipeline.train(TAUGHT, runs=tmp_path, name="whole")
    with pytest.raises(pipeline.Interrupted, match=rf"epoch {epoch} of 6.*--name cut --resume"):
        pipeline.train(TAUGHT, runs=tmp_path, name="cut", on_progress=_interrupt_in_epoch(epoch))
    resumed = pipeline.resume(name="cut", runs=tmp_path)
    assert _weights(resumed) == _weights(whole), stage
    metrics = resumed.run.metrics()
    assert metrics == whole.run.metrics()
    assert [m["network"] for m in metrics if "network" in m] == [1, 1, 2, 2, 3, 3]
    assert not resumed.run.checkpoint_file.exists()


@pytest.mark.usefixtures("few_digits")
def test_a_checkpoint_without_the_teachers_that_it_counts_is_refused(tmp_path: Path) -> None:
    with pytest.raises(pipeline.Interrupted):
        pipeline.train(TAUGHT, runs=tmp_path, name="cut", on_progress=_interrupt_in_epoch(4))
    checkpoint = tmp_path / "cut" / "checkpoint.safetensors"
    tensors = load_file(checkpoint)
    with safe_open(checkpoint, framework="pt") as file:
        metadata = file.metadata()
    without = {k: v for k, v in tensors.items() if not k.startswith("teacher0/")}
    assert len(without) < len(tensors)
    for damaged in (
        save(without, metadata),
        save(tensors, {**metadata, "epochs_done": "7"}),  # of 6
        save({**tensors, "optimiser/steps": torch.tensor(-5)}, metadata),
    ):
        checkpoint.write_bytes(damaged)
        with pytest.raises(RunError, match=r"checkpoint\.safetensors: is not a checkpoint"):
            pipeline.resume(name="cut", runs=tmp_path)


@pytest.mark.usefixtures("few_digits")
def test_only_an_unfinished_run_with_a_sound_checkpoint_resumes(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="there is no run to resume"):
        pipeline.resume(name="none", runs=tmp_path)
    pipeline.train(SHORT.replacing(epochs=1), runs=tmp_path, name="done")
    with pytest.raises(RunError, match="is complete"):
        pipeline.resume(name="done", runs=tmp_path)
    with pytest.raises(pipeline.Interrupted):
        pipeline.train(SHORT, runs=tmp_path, name="cut", on_progress=_interrupt_in_epoch(2))
    checkpoint = tmp_path / "cut" / "checkpoint.safetensors"
    checkpoint.write_bytes(checkpoint.read_bytes()[:-100])
    with pytest.raises(RunError, match=r"checkpoint\.safetensors: is not a checkpoint"):
        pipeline.resume(name="cut", runs=tmp_path)
