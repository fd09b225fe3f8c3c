"""Open what can be evaluated: a bundle or a run.

    with open_subject(Path("runs/fast-1")) as subject:
        subject.classify(images)                    # probabilities (N, 10)
        subject.predictor().predict("photo.jpg")    # through the picture graph

A bundle is verified first and computes through its own graphs. A run computes with the engine that
trains here; its picture graph is the one that `mnistnet export` would write, for which torch is
needed.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING

from mnistnet.bundle.manifest import FILES, MANIFEST, Manifest
from mnistnet.bundle.runtime import runtime_name
from mnistnet.bundle.verify import verify
from mnistnet.errors import RunError
from mnistnet.extras import import_extra
from mnistnet.files import scratch_folder, sha256
from mnistnet.inference import Predictor
from mnistnet.model.architecture import parameter_count
from mnistnet.report.contents import Model
from mnistnet.training.lifecycle import recover
from mnistnet.training.machine import engine_for
from mnistnet.training.recipe import Recipe
from mnistnet.training.runs import Run
from mnistnet.training.state import load_weights

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from mnistnet.provenance import Origin

MODEL_FILES = ("digit.onnx", "picture.onnx", "weights.safetensors")  # without the documents


@dataclass(frozen=True)
class Subject:
    """A bundle or a run, loaded.

    Attributes:
        model: for the report: name, sizes, hashes, origin.
        threshold: the confidence below which a prediction is unsure; None in a run.
        runtime: what `classify` computes with.
        classify: returns probabilities (N, 10) for uint8 (N, 28, 28).
        predictor: returns what reads pictures of any size.
    """

    model: Model
    threshold: float | None
    runtime: str
    classify: Callable[[NDArray[np.uint8]], NDArray[np.float32]]
    predictor: Callable[[], Predictor]


@contextmanager
def open_subject(folder: Path) -> Iterator[Subject]:
    """Open a bundle or a run.

    Raises:
        BundleError: it is no bundle, or a damaged one.
        RunError: it is neither bundle nor run, or a run that is not finished.
        MissingError: it is a run, and what evaluates it is not installed.
        WeightsError: the run's weights are not this network's, or not finite.
    """
    if not folder.exists():  # whoever only reads leaves a run alone that may be at work
        recover(folder)
    if not (folder / "recipe.json").is_file():
        if not (folder / MANIFEST).exists():
            raise RunError(f"{folder}: is neither a run (recipe.json) nor a bundle ({MANIFEST})")
        yield _bundle(folder)
        return
    with scratch_folder() as scratch:
        yield _run(Run(folder), scratch / "bundle")


def _bundle(folder: Path) -> Subject:
    manifest = verify(folder)
    predictor = Predictor(folder)
    files = {name: manifest.files[name] for name in FILES}
    model = Model(
        name=_name(folder, manifest.origin),
        kind="bundle",
        parameters=parameter_count(),
        size_bytes={name: file.size_bytes for name, file in files.items()}
        | {MANIFEST: (folder / MANIFEST).stat().st_size},
        sha256={name: files[name].sha256 for name in MODEL_FILES},
        origin=manifest.origin,
    )
    return Subject(
        model=model,
        threshold=manifest.threshold or None,
        runtime=f"{runtime_name()}, one thread",
        classify=predictor.classify,
        predictor=lambda: predictor,
    )


def _run(run: Run, scratch: Path) -> Subject:
    run.recipe()
    origin, engine = run.origin(), engine_for(Recipe(device="cpu"))
    weights, content = load_weights(run.weights_file), run.weights_file.read_bytes()
    model = Model(
        name=_name(run.folder, origin),
        kind="run",
        parameters=parameter_count(),
        size_bytes={run.weights_file.name: len(content)},
        sha256={run.weights_file.name: sha256(content)},
        origin=origin,
    )
    return Subject(
        model=model,
        threshold=None,
        runtime=str(replace(engine.environment, precision="float32")),
        classify=lambda images: engine.probabilities(weights, images),
        predictor=cache(lambda: _exported(run, origin, scratch)),
    )


def _exported(run: Run, origin: Origin, scratch: Path) -> Predictor:
    """Export a run that is no bundle yet, for its picture graph."""
    import_extra("train", "torch", "onnx", "onnxscript")
    from mnistnet.bundle.export import export
    from mnistnet.model.network import MnistNet

    export(MnistNet.load(run.folder), scratch, Manifest(origin))
    return Predictor(scratch)


def _name(folder: Path, origin: Origin) -> str:
    recipe = origin.recipe.get("name", "unknown")
    return f"{folder.resolve().name} (recipe {recipe})"
