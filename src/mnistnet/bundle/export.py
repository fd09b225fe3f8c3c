"""`mnistnet export RUN -o DIR`: write a trained network as a bundle. The only module with torch.

    manifest = export(net, Path("bundle"), origin=origin, metrics=metrics, report=report, card=card)

The same arguments give the same bytes, wherever and in whichever process. The bundle is written
beside its place, verified there, and then put into it.
"""

from __future__ import annotations

import copy
import logging
import warnings
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from mnistnet.bundle.digit import digit_graph
from mnistnet.bundle.folder import replace_bundle
from mnistnet.bundle.graph import OPSET, to_bytes
from mnistnet.bundle.manifest import MANIFEST, Fingerprint, Manifest
from mnistnet.bundle.picture import picture_graph
from mnistnet.bundle.vectors import PictureVector, Vectors, drawn_images, drawn_pictures
from mnistnet.bundle.verify import verify
from mnistnet.files import write_bytes
from mnistnet.model.network import MEAN, STD, normalise
from mnistnet.picture import ENOUGH, prepare, read

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import onnx

    from mnistnet.model.network import MnistNet
    from mnistnet.provenance import Origin


def export(
    net: MnistNet,
    directory: Path,
    *,
    origin: Origin,
    metrics: dict[str, Any],
    report: bytes,
    card: str,
    threshold: float = 0.0,
) -> Manifest:
    """Write a bundle.

    Args:
        net: the trained network; it is not changed.
        directory: where to; a bundle that lies there is replaced.
        origin: where the weights came from.
        metrics: what they reached, for the manifest.
        report: the content of `report.json`: the evaluation, without timings.
        card: the model card, for `README.md`.
        threshold: the confidence below which an answer counts as unsure.

    Returns:
        The manifest that was written.

    Raises:
        WeightsError: the weights are not finite.
        BundleError: the manifest that lies in the directory is damaged.
        FileError: something else lies in the directory, or it cannot be written.
    """
    with replace_bundle(directory) as temporary:
        contents = _contents(net, report, card)
        files = {name: Fingerprint.of(content) for name, content in contents.items()}
        manifest = Manifest(files, metrics, threshold, origin)
        for name, content in {**contents, MANIFEST: manifest.to_bytes()}.items():
            write_bytes(temporary / name, content)
        verify(temporary)
    return manifest


def _contents(net: MnistNet, report: bytes, card: str) -> dict[str, bytes]:
    """Make all of a bundle's files but the manifest."""
    from safetensors.torch import save

    net.check_finite("the network")
    state = {name: tensor.contiguous() for name, tensor in net.state_dict().items()}
    digit = digit_graph({k: v.numpy() for k, v in state.items()}, mean=MEAN, std=STD)
    return {
        "README.md": card.encode(),
        "digit.onnx": to_bytes(digit),
        "picture.onnx": to_bytes(picture_graph(_exported_preparation(), digit, enough=ENOUGH)),
        "report.json": report,
        "vectors.json": _vectors(net).to_bytes(),
        "weights.safetensors": save(state),
    }


@cache  # seconds of work, and the same for every network
def _exported_preparation() -> onnx.ModelProto:
    """Have torch write the picture's preparation as an ONNX graph, for any height and width."""
    sides = {0: torch.export.Dim("H", min=3), 1: torch.export.Dim("W", min=3)}
    with _silence():
        program = torch.onnx.export(
            _Preparation(),
            (torch.zeros(40, 30, dtype=torch.uint8),),  # of two sizes, lest they be taken for one
            dynamic_shapes=(sides,),
            dynamo=True,
            external_data=False,
            opset_version=OPSET,
            verbose=False,
        )
    assert program is not None
    return program.model_proto


class _Preparation(nn.Module):
    """What torch exports has to be a module."""

    def forward(self, picture: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """See `mnistnet.picture.read`."""
        readings = read(picture)
        return readings.seen, readings.plausibility, readings.ink


@contextmanager
def _silence() -> Iterator[None]:
    """Keep torch's exporter from talking of what no user can change."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def _vectors(net: MnistNet) -> Vectors:
    """Let PyTorch answer the questions that `verify` will ask."""
    images = torch.from_numpy(drawn_images())
    # In float64, so that the digits that are kept do not depend on threads and processor.
    exact = copy.deepcopy(net).eval().double()

    def probabilities_of(images: Tensor) -> Tensor:
        log_probabilities: Tensor = exact(normalise(images).double())
        return log_probabilities.double().exp()

    pictures = [torch.from_numpy(picture) for picture in drawn_pictures()]
    with torch.inference_mode():
        answers = [(picture, *prepare(picture, probabilities_of)) for picture in pictures]
        return Vectors(
            images.numpy(),
            probabilities_of(images).numpy(),
            tuple(PictureVector(p.numpy(), seen.numpy(), bool(ink)) for p, seen, ink in answers),
        )
