"""What can be judged: a bundle, or a run; either answers images and pictures.

    with opened(Path("runs/fast-1")) as model:
        model.classify(images)                      # probabilities (N, 10)
        model.predictor().predict("photo.jpg")      # through the picture graph

A bundle is verified first and answers through its own graphs, where there is no torch. A run
answers through PyTorch; its picture graph is what `mnistnet export` would make of it.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from mnistnet.bundle.manifest import FILES, MANIFEST, parse_json, read_file
from mnistnet.bundle.runtime import runtime_name
from mnistnet.bundle.verify import verify
from mnistnet.errors import RunError, WeightsError
from mnistnet.files import sha256
from mnistnet.inference import Predictor
from mnistnet.report.contents import Model
from mnistnet.training.runs import Run

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import numpy as np
    from numpy.typing import NDArray

    from mnistnet.bundle.manifest import Manifest
    from mnistnet.model.network import MnistNet
    from mnistnet.provenance import Origin

TIMED_FILES = ("digit.onnx", "picture.onnx", "weights.safetensors")  # what a model consists of


@dataclass(frozen=True)
class Judged:
    """A bundle or a run, ready to answer.

    Attributes:
        model: what a report says of it: name, sizes, hashes, origin.
        threshold: the confidence below which its answers count as unsure; None in a run.
        runtime: what `classify` computes with.
        classify: probabilities (N, 10) for uint8 (N, 28, 28).
        predictor: makes what reads pictures of any size.
    """

    model: Model
    threshold: float | None
    runtime: str
    classify: Callable[[NDArray[np.uint8]], NDArray[np.float32]]
    predictor: Callable[[], Predictor]


def is_run(folder: Path) -> bool:
    """Say whether a path is a run's folder, and so needs torch to be judged."""
    return (folder / "recipe.json").is_file()


@contextmanager
def opened(folder: Path) -> Iterator[Judged]:
    """Open a bundle or a run.

    Raises:
        BundleError: it is no bundle, or a damaged one.
        RunError: it is neither bundle nor run, or a run that is not finished.
        WeightsError: the run's weights are not this network's, or not finite.
    """
    if not is_run(folder):
        if not (folder / MANIFEST).exists():
            raise RunError(f"{folder}: is neither a run (recipe.json) nor a bundle ({MANIFEST})")
        yield _bundle(folder)
        return
    with TemporaryDirectory() as scratch:
        yield _run(Run(folder), Path(scratch) / "bundle")


def _bundle(folder: Path) -> Judged:
    manifest = verify(folder)
    predictor = Predictor(folder)
    files = {name: manifest.files[name] for name in FILES}
    model = Model(
        name=_name(folder, manifest.origin),
        kind="bundle",
        parameters=_parameters(folder, manifest),
        size_bytes={name: file.size_bytes for name, file in files.items()}
        | {MANIFEST: (folder / MANIFEST).stat().st_size},
        sha256={name: files[name].sha256 for name in TIMED_FILES},
        origin=manifest.origin,
    )
    return Judged(
        model=model,
        threshold=manifest.threshold or None,
        runtime=f"{runtime_name()}, one thread",
        classify=predictor.classify,
        predictor=lambda: predictor,
    )


def _run(run: Run, scratch: Path) -> Judged:
    import torch

    from mnistnet.model.network import MnistNet, parameter_count
    from mnistnet.training.prediction import predict

    run.recipe()
    origin = run.origin()
    net = MnistNet.load(run.folder)
    if not all(tensor.isfinite().all() for tensor in net.state_dict().values()):
        raise WeightsError(
            f"{run.weights_file}: its numbers are not finite: training diverged; train again"
        )
    weights = run.weights_file.read_bytes()
    model = Model(
        name=_name(run.folder, origin),
        kind="run",
        parameters=parameter_count(net),
        size_bytes={run.weights_file.name: len(weights)},
        sha256={run.weights_file.name: sha256(weights)},
        origin=origin,
    )
    return Judged(
        model=model,
        threshold=None,
        runtime=f"PyTorch {torch.__version__.split('+')[0]}, {torch.get_num_threads()} threads",
        classify=lambda images: predict(net, images),
        predictor=cache(lambda: _exported(net, origin, scratch)),
    )


def _exported(net: MnistNet, origin: Origin, scratch: Path) -> Predictor:
    """Make the picture graph of a network that is no bundle yet."""
    from mnistnet.bundle.export import export

    export(net, scratch, origin=origin, metrics={}, report=b"{}\n", card="")
    return Predictor(scratch)


def _parameters(bundle: Path, manifest: Manifest) -> int | None:
    """Take the number of parameters from the report in a bundle, if it says."""
    report = parse_json(read_file(bundle, "report.json", manifest), bundle / "report.json")
    model = report.get("model") if isinstance(report, dict) else None
    n = model.get("parameters") if isinstance(model, dict) else None
    return n if isinstance(n, int) else None


def _name(folder: Path, origin: Origin) -> str:
    recipe = origin.recipe.get("name", "unknown")
    return f"{folder.resolve().name} (recipe {recipe})"
