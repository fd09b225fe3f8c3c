"""`mnistnet gate CANDIDATE`: measure a shipped bundle beside the champion, and judge it.

    verdict = gate(Path("candidate"), Path("champion"), best=Path("best"))
    verdict.passed

Only bundles are read, never the run they came from. All are measured here and now on the same
images: what a manifest says of itself counts for nothing. Runs where there is no torch.
"""

from __future__ import annotations

import math
import subprocess
import sys
import tempfile
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from mnistnet import data as datasets
from mnistnet.bundle.manifest import field, parse_json, read_file, read_manifest
from mnistnet.bundle.verify import verify
from mnistnet.errors import BundleError, WeightsError
from mnistnet.gate.checks import (
    Evidence,
    Latency,
    Measured,
    Parity,
    Rules,
    Served,
    judge,
    read_rules,
    refusal,
)
from mnistnet.inference import Predictor
from mnistnet.metrics.robustness import corrupt_all, measure_robustness
from mnistnet.metrics.scores import expected_calibration_error
from mnistnet.metrics.timing import time_in_turn

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from mnistnet.data import Split
    from mnistnet.gate.checks import Verdict

RULES = Path("gates.toml")  # in the repository's root, where the command is run
PARITY_IMAGES = 2000
BATCH = 128  # images a round of the timing; as many as the predictor takes at once
ROUNDS = 60
SERVE_TIMEOUT_S = 60
TRAINING_PACKAGES = ("torch", "onnx", "onnxscript", "safetensors")
STATISTICS = ("running_mean", "running_var", "num_batches_tracked")  # measured, not learnt

# Reads pictures with a bundle as someone does who installed nothing for training.
ANSWER = f"""
import sys
sys.modules.update(dict.fromkeys({TRAINING_PACKAGES!r}))
from mnistnet import Predictor
print(*(prediction.digit for prediction in Predictor(sys.argv[1]).predict_many(sys.argv[2:])))
"""


def gate(
    candidate: Path,
    champion: Path | None = None,
    *,
    best: Path | None = None,
    rules: Path | None = None,
    data: Path | None = None,
) -> Verdict:
    """Say whether a bundle may ship.

    Args:
        candidate: the bundle to judge.
        champion: the bundle it is to replace; None for a first release.
        best: the bundle that read the most of all ever published; None where there is none.
        rules: a rules file; None takes gates.toml where the command is run, or else the defaults.
        data: the data set whose test images are read; None searches the usual places.

    Raises:
        FileError: the rules cannot be read.
        DataError: the data set cannot be read.
        BundleError: the candidate is no bundle at all, or one of the others is damaged. A
            candidate that is a damaged bundle is refused, not raised.
    """
    limits = _read_rules(rules)
    read_manifest(candidate)
    test = datasets.load(data).test
    others = [bundle for bundle in (champion, best) if bundle is not None]
    for bundle in others:
        verify(bundle)
    try:
        verify(candidate)
        parity = _parity(candidate, test.images[:PARITY_IMAGES])
        measured = measure([candidate, *others], test)
    except (BundleError, WeightsError) as error:
        return refusal(str(error))
    evidence = Evidence(
        candidate=measured[candidate],
        parity=parity,
        served=_serve(candidate, test),
        champion=measured[champion] if champion else None,
        best=measured[best] if best else None,
        latency=_time(candidate, champion, test.images) if champion else None,
    )
    return judge(evidence, limits)


def measure(bundles: Sequence[Path], test: Split) -> dict[Path, Measured]:
    """Measure bundles on the same images, clean and spoilt; each is spoilt once for all of them.

    Raises:
        BundleError: a bundle is damaged.
    """
    predictors = {bundle: Predictor(bundle) for bundle in bundles}
    suite = corrupt_all(test.images, test.labels)
    measured = {}
    for bundle, predictor in predictors.items():
        probabilities = predictor.classify(test.images)
        measured[bundle] = Measured(
            correct=probabilities.argmax(1) == test.labels,
            calibration_error=expected_calibration_error(probabilities, test.labels),
            corruption_error=measure_robustness(predictor.classify, suite).mean_error,
            corruption_images=len(suite.clean),
            parameters=_parameter_count(bundle),
            size_bytes=sum(f.size_bytes for f in predictor.manifest.files.values()),
        )
    return measured


def _read_rules(path: Path | None) -> Rules:
    if path is None and not RULES.is_file():
        return Rules()
    return read_rules(path or RULES)


def _parameter_count(bundle: Path) -> int:
    """Count the parameters by the header of weights.safetensors, which needs no torch.

    Raises:
        BundleError: the header is not what the format says.
    """
    where = bundle / "weights.safetensors"
    content = read_file(bundle, where.name, read_manifest(bundle))
    end = 8 + int.from_bytes(content[:8], "little")
    header = parse_json(content[8:end], where)
    if not isinstance(header, dict):
        raise BundleError(f"{where}: has a header that is no table of tensors; export it anew")
    names = [n for n in header if n != "__metadata__" and not n.endswith(STATISTICS)]
    shapes = [field(header[name], "shape", where, list) for name in names]
    if not all(type(side) is int for shape in shapes for side in shape):
        raise BundleError(f"{where}: has a shape that is not of whole numbers; export it anew")
    return sum(math.prod(shape) for shape in shapes)


def _parity(bundle: Path, images: NDArray[np.uint8]) -> Parity:
    """Compare digit.onnx with the weights in PyTorch, where that is installed.

    Raises:
        BundleError: a file is damaged.
        WeightsError: the weights are not this network's.
    """
    if not all(find_spec(package) for package in ("torch", "safetensors")):
        return Parity(None, 0)
    from mnistnet.model.network import MnistNet
    from mnistnet.training.prediction import predict

    expected = predict(MnistNet.load(bundle), images)
    found = Predictor(bundle).classify(images)
    return Parity(float(np.abs(found - expected).max()), len(images))


def _serve(bundle: Path, test: Split) -> Served:
    """Have a fresh process without torch read a picture of each digit."""
    digits, places = np.unique(test.labels, return_index=True)
    with tempfile.TemporaryDirectory() as folder:
        pictures = [Path(folder) / f"{digit}.png" for digit in digits]
        for picture, place in zip(pictures, places, strict=True):
            Image.fromarray(_as_picture(test.images[place])).save(picture)
        words = [sys.executable, "-P", "-c", ANSWER, str(bundle.resolve()), *map(str, pictures)]
        try:
            done = subprocess.run(  # noqa: S603 – our own program
                words, capture_output=True, text=True, check=False, timeout=SERVE_TIMEOUT_S
            )
        except subprocess.TimeoutExpired:
            return Served(0, len(digits), f"gave no answer within {SERVE_TIMEOUT_S} s")
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        return Served(0, len(digits), f"the process failed ({last:.200})")
    answers = done.stdout.split()
    return Served(sum(a == str(d) for a, d in zip(answers, digits, strict=True)), len(digits))


def _as_picture(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Make a picture as people send them of a test image: four times as large, ink on paper."""
    return np.pad(255 - image.repeat(4, axis=0).repeat(4, axis=1), 14, constant_values=255)


def _time(candidate: Path, champion: Path, images: NDArray[np.uint8]) -> Latency:
    """Time two bundles in turn: what the machine does beside it hits both."""
    ours, theirs = Predictor(candidate), Predictor(champion)
    batch, picture = images[:BATCH], _as_picture(images[0])
    return Latency(
        images=time_in_turn(
            partial(ours.classify, batch), partial(theirs.classify, batch), ROUNDS
        ).median,
        picture=time_in_turn(
            partial(ours.predict, picture), partial(theirs.predict, picture), ROUNDS
        ).median,
        rounds=ROUNDS,
    )
