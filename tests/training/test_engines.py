"""Both engines compute what torch computes in float64, and one is chosen that can."""

from __future__ import annotations

import copy
import signal
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import FrameType

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from mnistnet.data import DataSet
from mnistnet.errors import RecipeError
from mnistnet.model.architecture import parameter_count
from mnistnet.model.network import normalise
from mnistnet.training import native
from mnistnet.training.draws import draw, generator_for
from mnistnet.training.engine import REFRESH_EVERY, Chunk, Engine
from mnistnet.training.examples import smooth_labels
from mnistnet.training.machine import engine_for
from mnistnet.training.native import Native, load_library, precision_of, variants
from mnistnet.training.recipe import RELEASE, Recipe
from mnistnet.training.state import (
    State,
    initial_state,
    prepare_optimiser,
    views,
    weights_size,
)
from mnistnet.training.torch_engine import network

Floats = NDArray[np.float32]

PLAIN = Recipe(batch_size=48, hardest=1, rotation_deg=0, scale=0, shear=0, shift_px=0)


def _chunk(data: DataSet, recipe: Recipe, *, batches: int = 1, rate: float = 0.01) -> Chunk:
    """Digits on paper that is nowhere even: of equal values, rounding would pool any."""
    n = batches * recipe.batch_size
    paper = np.random.default_rng(0).integers(0, 100, (n, 28, 28), np.uint8)
    return Chunk(
        recipe=recipe,
        images=np.maximum(data.train.images[:n], paper),
        targets=smooth_labels(data.train.labels[:n], 0.1),
        draws=draw(recipe, generator_for(0, 1), n),
        rates=np.full(batches, rate, np.float32),
        teachers=np.empty((0, weights_size()), np.float32),
    )


def _state(data: DataSet, seed: int = 0) -> State:
    """A network whose BatchNorms do something: negative gains, which pooling must follow."""
    state, rng = initial_state(data.train.images, seed=seed, epoch=0), np.random.default_rng(seed)
    for name, part in views(state.weights).items():
        if part.ndim == 1:
            part[:] = rng.uniform(0.5, 1.5, part.shape)
            if not name.endswith("running_var"):
                part *= rng.choice([-1, 1], part.shape)
    return state


def _native(threads: int, variant: str = "") -> Native:
    names = [v for v in variants(load_library()) if precision_of(v) == "float32"]
    return Native(load_library(), variant or names[0], threads)


def _far(ours: Floats, theirs: Floats) -> float:
    return float(np.linalg.norm(ours - theirs) / np.linalg.norm(theirs))


def _constant_but(kept: Tensor) -> Callable[[nn.Module, tuple[Tensor]], tuple[Tensor]]:
    """What a BatchNorm reads, constant for the images that are not kept."""
    return lambda _, read: (torch.where(kept[:, None, None, None], read[0], read[0].detach()),)


@pytest.mark.parametrize("hardest", [1, 0.3])
@pytest.mark.parametrize("threads", [1, 2, 3])
def test_gradients_and_statistics_are_the_means_over_the_threads_of_torchs_float64(
    mnist: DataSet, engine: Engine, threads: int, hardest: float
) -> None:
    """Each thread of the native engine normalises by its own share's statistics.

    In this state no pooling's two largest are so near each other that rounding chooses.
    """
    if threads > 1 and engine.environment.engine == "native":
        engine = _native(threads)
    shares = threads if engine.environment.engine == "native" else 1
    chunk, state = _chunk(mnist, PLAIN.replacing(hardest=hardest), rate=0), _state(mnist, 2)
    gradients = engine.gradients(state, chunk)
    prepare_optimiser(state, gradients)
    before = copy.deepcopy(state)
    trained = engine.train(state, chunk)
    loss, correct, nets, gradients_of_shares = 0.0, 0, [], []
    for images, targets in zip(
        torch.tensor(chunk.images).chunk(shares),
        torch.tensor(chunk.targets).chunk(shares),
        strict=True,
    ):
        net = network(torch.tensor(before.weights)).double()
        log_probabilities = net(normalise(images).double())
        losses = F.cross_entropy(log_probabilities, targets.double(), reduction="none")
        loss += losses.mean().item() / shares
        correct += int((log_probabilities.argmax(1) == targets.argmax(1)).sum())
        nets.append(net)
        kept = losses >= losses.sort(descending=True)[0][round(len(losses) * hardest) - 1]
        again = copy.deepcopy(net)
        for norm in again.modules():
            if isinstance(norm, nn.BatchNorm2d):
                norm.register_forward_pre_hook(_constant_but(kept))
        losses = F.cross_entropy(
            again(normalise(images).double()), targets.double(), reduction="none"
        )
        torch.autograd.backward(losses[kept].sum() / len(chunk.images))
        gradients_of_shares.append([parameter.grad for parameter in again.parameters()])
    assert (trained.losses, trained.correct) == (pytest.approx([loss], rel=1e-5), [correct])
    ours = views(gradients)
    for name, *parts in zip(ours, *gradients_of_shares, strict=True):
        gradient = torch.stack(parts).sum(0).numpy()
        far = np.linalg.norm(ours[name] - gradient)
        assert far < 0.002 * np.linalg.norm(gradient) + 1e-5, name
    after, first = views(state.values), views(before.values)
    for name, _ in nets[0].named_parameters():
        np.testing.assert_array_equal(after[name], first[name])  # the rate was 0
    for name, buffer in nets[0].named_buffers():
        if buffer.ndim:
            mean = np.mean([dict(net.named_buffers())[name].numpy() for net in nets], axis=0)
            np.testing.assert_allclose(after[name], mean, atol=1e-5, rtol=1e-4, err_msg=name)


# Blurred images have neighbours so near each other that rounding chooses which pooling takes.
ALL_KINDS = RELEASE.replacing(batch_size=32, dropout=0.3, blur=0.15)


@pytest.mark.parametrize(("teachers", "hardest"), [(0, 1), (3, 1), (0, 0.4)])
def test_both_engines_have_the_same_gradients_of_the_same_draws(
    mnist: DataSet, engine: Engine, reference: Engine, teachers: int, hardest: float
) -> None:
    others = [_state(mnist, seed).weights for seed in range(1, teachers + 1)]
    chunk = replace(
        _chunk(mnist, ALL_KINDS.replacing(hardest=hardest)),
        teachers=np.array(others, np.float32).reshape(-1, weights_size()),
    )
    state = _state(mnist)
    ours, theirs = (one.gradients(state, chunk) for one in (engine, reference))
    assert ours.shape == (parameter_count(),)
    assert _far(ours, theirs) < 2e-3  # a pixel whose rounding differs is a grey level
    plain = replace(chunk, draws=draw(PLAIN, generator_for(0, 1), 32))
    assert _far(reference.gradients(state, plain), theirs) > 0.1
    assert _far(engine.gradients(state, plain), reference.gradients(state, plain)) < 5e-4


def test_both_engines_take_the_same_step_and_update_the_same_bases(
    mnist: DataSet, engine: Engine, reference: Engine
) -> None:
    """From covariances of full rank: in directions of no gradient, rounding decides on the step."""
    recipe, rng = PLAIN.replacing(weight_decay=0.1), np.random.default_rng(0)
    state, chunk = _state(mnist), _chunk(mnist, recipe)
    state.steps = REFRESH_EVERY - 1  # the next step updates the bases
    for name, part in views(state.values).items():
        if name.endswith("square"):
            part[:] = rng.uniform(0.5, 1.5, part.shape) * 1e-4
        elif name.endswith(("left", "right", "basis")):
            basis = np.linalg.qr(rng.normal(size=part.shape))[0]
            eigenvalues = np.linspace(1, 3, len(part))
            part[:] = basis if name.endswith("basis") else basis * eigenvalues @ basis.T
    ours, theirs = copy.deepcopy(state), copy.deepcopy(state)
    trained, expected = engine.train(ours, chunk), reference.train(theirs, chunk)
    assert trained.losses == pytest.approx(expected.losses, rel=1e-3)
    assert trained.correct == expected.correct
    assert ours.steps == theirs.steps == REFRESH_EVERY
    mine, other, before = (views(one.values) for one in (ours, theirs, state))
    for name, part in mine.items():
        assert not np.array_equal(part, before[name]), name
        signed = np.abs if name.endswith("basis") else np.asarray  # columns may point either way
        assert _far(signed(part), signed(other[name])) < 2e-3, name


@pytest.mark.usefixtures("native_library")
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_in_bfloat16_the_native_engine_is_nearer_to_float32_than_autocast_is(
    mnist: DataSet, reference: Engine, seed: int
) -> None:
    bfloat16 = [v for v in variants(load_library()) if precision_of(v) == "bfloat16"]
    if not bfloat16:
        pytest.skip("this processor does not multiply bfloat16")
    state, chunk = initial_state(mnist.train.images, seed=seed, epoch=0), _chunk(mnist, PLAIN)
    exact = reference.gradients(state, chunk)
    autocast = engine_for(Recipe(engine="torch", precision="bfloat16", threads=1))
    error = _far(_native(1, bfloat16[0]).gradients(state, chunk), exact)
    assert 0 < error < _far(autocast.gradients(state, chunk), exact)


@pytest.mark.usefixtures("native_library")
def test_every_variant_that_runs_here_computes_nearly_the_same(mnist: DataSet) -> None:
    state, chunk = _state(mnist), _chunk(mnist, ALL_KINDS)
    first, *others = (
        _native(2, name) for name in variants(load_library()) if precision_of(name) == "float32"
    )
    for other in others:
        assert _far(other.gradients(state, chunk), first.gradients(state, chunk)) < 2e-3


@pytest.mark.parametrize("teachers", [0, 2])
def test_what_shows_no_digit_is_never_counted_as_correct(
    mnist: DataSet, engine: Engine, teachers: int
) -> None:
    chunk, state = _chunk(mnist, PLAIN, rate=0), _state(mnist)
    targets = chunk.targets.copy()
    targets[4:] = np.float32(0.1)
    chunk = replace(chunk, targets=targets, teachers=np.tile(state.weights, (teachers, 1)))
    prepare_optimiser(state, engine.gradients(state, chunk))
    assert chunk.has_class.tolist() == [True] * 4 + [False] * 44
    assert engine.train(state, chunk).correct[0] <= 4


@pytest.mark.usefixtures("native_library")
def test_a_batch_may_be_smaller_than_there_are_threads(mnist: DataSet) -> None:
    for size in (2, 9, 1):
        recipe = PLAIN.replacing(batch_size=size)
        state, chunk = _state(mnist), _chunk(mnist, recipe)
        engine = _native(4)
        prepare_optimiser(state, engine.gradients(state, chunk))
        trained = engine.train(state, chunk)
        assert 0 <= trained.correct[0] <= size
        assert np.isfinite(state.values).all() or size < 4  # a share of one has no variance


@pytest.mark.usefixtures("native_library")
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no interval timer")
def test_ctrl_c_ends_a_call_of_the_native_engine_within_a_batch_however_large(
    mnist: DataSet,
) -> None:
    def interrupt(_: int, __: FrameType | None) -> None:
        raise KeyboardInterrupt

    engine, state = _native(1), initial_state(mnist.train.images, seed=0, epoch=0)
    many, few = (_chunk(mnist, PLAIN.replacing(batch_size=n)) for n in (60_000, 100))
    prepare_optimiser(state, engine.gradients(state, few))
    before, handler = copy.deepcopy(state), signal.signal(signal.SIGALRM, interrupt)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.1)  # the batch takes ten times as long
        with pytest.raises(KeyboardInterrupt):
            engine.train(state, many)
    finally:
        signal.signal(signal.SIGALRM, handler)
    np.testing.assert_array_equal(state.weights, before.weights)  # there was no step
    assert engine.train(before, few).losses  # the engine goes on to work


def test_both_engines_predict_what_torchs_layers_predict(mnist: DataSet, engine: Engine) -> None:
    weights, images = _state(mnist).weights, mnist.test.images[:1301]
    views(weights)["classifier.0.weight"][:] *= 3  # so that predictions differ
    before = weights.copy()
    with torch.no_grad():
        net = network(torch.tensor(weights)).eval().double()
        expected = net(normalise(torch.tensor(images)).double()).exp().numpy()
    ours = engine.probabilities(weights, images)
    np.testing.assert_allclose(ours, expected, atol=1e-5, rtol=1e-4)
    assert ours.dtype == np.float32
    assert ours.std(0).max() > 0.005
    np.testing.assert_array_equal(weights, before)
    assert engine.probabilities(weights, images[::2]).argmax(1).tolist() == (
        expected[::2].argmax(1).tolist()
    )


@pytest.mark.usefixtures("native_library")
def test_auto_takes_the_native_engine_in_the_precision_that_is_asked_for() -> None:
    there = variants(load_library())
    for precision in ("auto", "float32", "bfloat16"):
        environment = engine_for(Recipe(precision=precision, threads=2)).environment
        fitting = [v for v in there if precision in ("auto", precision_of(v))]
        assert environment.engine == ("native" if fitting else "torch")
        if fitting:
            assert environment.instruction_set == fitting[0]
            assert environment.compiler
        assert precision in ("auto", environment.precision)
        assert environment.threads == 2
    assert engine_for(Recipe(engine="torch")).environment.engine == "torch"
    assert engine_for(Recipe(engine="torch")).why == ""
    with pytest.raises(RecipeError, match=r"engine is native, but the device is cuda"):
        engine_for(Recipe(engine="native", device="cuda"))


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device here")
def test_a_device_that_is_not_there_is_refused() -> None:
    with pytest.raises(RecipeError, match="device is cuda"):
        engine_for(Recipe(device="cuda"))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "were not built; to get them, pip install"),
        (b"", "do not load"),
        (b"\x7fELF and then nothing of the kind" * 9, "do not load"),
    ],
)
def test_without_a_library_that_loads_torch_computes_and_says_why(
    content: bytes | None, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    library = tmp_path / "libmnistnet.so"
    if content is not None:
        library.write_bytes(content)
    monkeypatch.setattr(native, "LIBRARY", library)
    load_library.cache_clear()
    try:
        engine = engine_for(Recipe(threads=1))
        with pytest.raises(RecipeError, match=r"^engine is native, but .*\Z") as error:
            engine_for(Recipe(engine="native"))
    finally:
        load_library.cache_clear()
    assert engine.environment.engine == "torch"
    assert reason in engine.why
    assert engine.why in str(error.value)


@pytest.mark.usefixtures("native_library")
def test_more_threads_than_processors_are_worth_a_line(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("WARNING", "mnistnet"):
        assert engine_for(Recipe(threads=1000)).environment.threads == 1000
        engine_for(Recipe(threads=1))
    (line,) = caplog.messages
    assert line.startswith("threads is 1000, but there are ")
