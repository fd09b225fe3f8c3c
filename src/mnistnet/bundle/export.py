"""Write a trained network as a bundle.

    manifest = export(net, Path("bundle"), Manifest(origin, metrics, threshold), report=content)

The same arguments give the same bytes, on every machine and in every process. The bundle is
written next to its place, verified there, and then moved into it.
"""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from mnistnet.bundle.digit import digit_graph
from mnistnet.bundle.documents import card
from mnistnet.bundle.graph import to_bytes
from mnistnet.bundle.manifest import MANIFEST, Fingerprint, Manifest, replace_bundle
from mnistnet.bundle.picture import picture_graph
from mnistnet.bundle.vectors import (
    ImageVector,
    PictureVector,
    Vectors,
    drawn_images,
    drawn_pictures,
    to_base64,
)
from mnistnet.bundle.verify import verify
from mnistnet.files import write_bytes
from mnistnet.model.network import normalise
from mnistnet.picture import prepare

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor

    from mnistnet.model.network import MnistNet


def export(
    net: MnistNet,
    directory: Path,
    manifest: Manifest,
    *,
    report: bytes = b'{"format": 2}\n',
) -> Manifest:
    """Write a bundle, and return its manifest.

    Args:
        net: the trained network; it is not changed.
        directory: a bundle that lies there is replaced.
        manifest: of the bundle, but for the files, which are added.
        report: content of `report.json`: the evaluation that the manifest's metrics are of, without
            timings. One without figures will do where the manifest has no metrics.

    Raises:
        WeightsError: the weights are not finite.
        BundleError: the manifest that lies in the directory is damaged.
        FileError: something else lies in the directory, or it cannot be written.
    """
    with replace_bundle(directory) as temporary:
        contents = {"README.md": card(manifest), "report.json": report, **_computed_files(net)}
        fingerprints = {name: Fingerprint.of(content) for name, content in contents.items()}
        manifest = replace(manifest, files=fingerprints)
        for name, content in {**contents, MANIFEST: manifest.to_bytes()}.items():
            write_bytes(temporary / name, content)
        verify(temporary)
    return manifest


def _computed_files(net: MnistNet) -> dict[str, bytes]:
    """Return the content of the files that follow from the weights, by name."""
    from safetensors.torch import save

    net.check_finite("the network")
    state = {name: tensor.contiguous() for name, tensor in net.state_dict().items()}
    digit = digit_graph({name: tensor.numpy() for name, tensor in state.items()})
    return {
        "digit.onnx": to_bytes(digit),
        "picture.onnx": to_bytes(picture_graph(digit)),
        "vectors.json": _vectors(net).to_bytes(),
        "weights.safetensors": save(state),
    }


def _vectors(net: MnistNet) -> Vectors:
    """Compute with PyTorch the outputs that `verify` will expect."""
    # In float64, so that the digits that are kept do not depend on threads and processor.
    exact = copy.deepcopy(net).eval().double()

    def network(images: Tensor) -> Tensor:
        log_probabilities: Tensor = exact(normalise(images).double())
        return log_probabilities.double().exp()

    images, pictures = drawn_images(), []
    with torch.inference_mode():
        probabilities = network(torch.from_numpy(images)).tolist()
        for picture in drawn_pictures():
            prepared = prepare(torch.from_numpy(picture), network)
            encoded = to_base64(picture), to_base64(prepared.seen.numpy())
            pictures.append(PictureVector(picture.shape, *encoded, bool(prepared.ink)))
    return Vectors(
        tuple(
            ImageVector(to_base64(image), tuple(round(p, 6) for p in row))
            for image, row in zip(images, probabilities, strict=True)
        ),
        tuple(pictures),
    )
