"""Measure how fast digit.onnx classifies batches, and how fast it could.

    python benchmarks/inference.py runs/fast-1 [--threads 1 2] [--rounds 30] [--json]

Measured in one process with the same number of threads: PyTorch, a plain export, the gain of each
rewriting of the graph, and the ceiling, which is the same convolutions, poolings and classifier in
ONNX Runtime with nothing between them; then what else was tried. All run in turn, A B C A B C …,
because a machine's speed changes from minute to minute but little within a round. So ratios are
taken within rounds, and their median is the figure to quote. The native training kernels come last.

OpenVINO is measured where it is installed (`pip install openvino`).
"""

from __future__ import annotations

import argparse
import json
import logging
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from statistics import median, quantiles
from typing import TYPE_CHECKING, Any

import numpy as np
import onnxruntime
import torch

from inference_graphs import CEILING, OURS, PLAIN, graphs
from mnistnet import data as datasets
from mnistnet.model.network import MnistNet, normalise
from mnistnet.training.machine import engine_for
from mnistnet.training.recipe import Recipe
from mnistnet.training.state import load_weights

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray
    from onnx import ModelProto

    Images = NDArray[np.uint8]
    Runner = Callable[[Images], NDArray[np.float32]]  # (N, 28, 28) to (N, 10)

EAGER = "PyTorch"
CALIBRATION_IMAGES = 1000  # of the training set
WARM_UP_IMAGES = 512


@dataclass
class Candidate:
    """A way to compute the probabilities, and its measurements.

    Attributes:
        name: for the table.
        run: computes them.
        rates: images/s, one per round.
        changed: predictions on the test set that differ from PyTorch's.
        difference: the largest between a probability and PyTorch's.
    """

    name: str
    run: Runner
    rates: list[float] = field(default_factory=list)
    changed: int = 0
    difference: float = 0.0

    def against(self, other: Candidate) -> tuple[float, float, float]:
        """Return the lower quartile, median and upper quartile of the ratios within rounds."""
        ratios = [mine / theirs for mine, theirs in zip(self.rates, other.rates, strict=True)]
        low, middle, high = quantiles(ratios)
        return low, middle, high


def main() -> None:
    """Print a table for each number of threads."""
    options = _options()
    logging.disable(logging.WARNING)  # of torch's exporter and the quantizer
    warnings.simplefilter("ignore")
    data = datasets.load(options.data)
    path = Path(options.weights)
    net = MnistNet.load(path)
    weights = load_weights(path / "weights.safetensors" if path.is_dir() else path)
    models = dict(graphs(net, data.train.images[:CALIBRATION_IMAGES]))
    reports = []
    for threads in options.threads:
        candidates = _candidates(net, models, threads, options.chunk)
        engine = engine_for(Recipe(engine="native", threads=threads))
        candidates.append(Candidate("native kernels", partial(engine.probabilities, weights)))
        _compare(candidates, data.test.images)
        _measure(candidates, data.test.images[: options.images], options.rounds)
        reports.append(_report(candidates, threads, options))
        if not options.json:
            _print_table(reports[-1])
    if options.json:
        print(json.dumps(reports))


# ---- ways to run


def _candidates(
    net: MnistNet, models: dict[str, ModelProto], threads: int, chunk: int
) -> list[Candidate]:
    """Load everything, to run with so many threads and chunks of so many images."""
    torch.set_num_threads(threads)
    runners = {EAGER: _in_chunks(_eager(net), chunk)}
    runners |= {n: _in_chunks(_onnxruntime(m, threads), chunk) for n, m in models.items()}
    if threads > 1:
        alone = _in_chunks(_onnxruntime(models[OURS], threads=1), chunk)
        runners[f"digit.onnx, {threads} callers"] = _by_callers(alone, threads)
    for name, precision in ((PLAIN, "f32"), (OURS, "f32"), (PLAIN, "bf16")):
        if runner := _openvino(models[name], threads, chunk, precision):
            label = f"OpenVINO {precision}: {name.partition(':')[0]}"
            runners[label] = _in_chunks(runner, chunk)
    return [Candidate(name, runner) for name, runner in runners.items()]


def _eager(net: MnistNet) -> Runner:
    def run(images: Images) -> NDArray[np.float32]:
        with torch.inference_mode():
            probabilities: NDArray[np.float32] = net(normalise(torch.tensor(images))).exp().numpy()
        return probabilities

    return run


def _onnxruntime(model: ModelProto, threads: int) -> Runner:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    # Otherwise its threads would still spin while the next candidate is measured.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return lambda images: session.run(None, {"images": images})[0]


def _openvino(model: ModelProto, threads: int, chunk: int, precision: str) -> Runner | None:
    """Compile for chunks of one size, for which OpenVINO is fastest; None without OpenVINO."""
    try:
        import openvino
    except ImportError:
        return None
    core = openvino.Core()
    graph = core.read_model(model.SerializeToString())
    graph.reshape([chunk, 28, 28])
    settings = {"INFERENCE_NUM_THREADS": threads, "INFERENCE_PRECISION_HINT": precision}
    compiled = core.compile_model(graph, "CPU", settings)

    def run(images: Images) -> NDArray[np.float32]:
        missing = chunk - len(images)
        padded = np.pad(images, ((0, missing), (0, 0), (0, 0))) if missing else images
        return np.array(compiled([padded])[0][: len(images)])

    return run


def _in_chunks(run: Runner, chunk: int) -> Runner:
    def run_all(images: Images) -> NDArray[np.float32]:
        starts = range(0, len(images), chunk)
        return np.concatenate([run(images[start : start + chunk]) for start in starts])

    return run_all


def _by_callers(run: Runner, callers: int) -> Runner:
    """Split the images among Python threads that all call the same session."""
    pool = ThreadPoolExecutor(callers)
    return lambda images: np.concatenate(list(pool.map(run, np.array_split(images, callers))))


# ---- measuring


def _compare(candidates: list[Candidate], images: Images) -> None:
    """Compare the predictions of all with the first's, on the whole test set."""
    expected = candidates[0].run(images)
    for candidate in candidates:
        found = candidate.run(images)
        candidate.changed = int((found.argmax(1) != expected.argmax(1)).sum())
        candidate.difference = float(np.abs(found - expected).max())


def _measure(candidates: list[Candidate], images: Images, rounds: int) -> None:
    """Measure all in turn, so many times; each starts its threads and warms the cache first."""
    for _ in range(rounds):
        for candidate in candidates:
            candidate.run(images[:WARM_UP_IMAGES])
            started = time.perf_counter()
            candidate.run(images)
            candidate.rates.append(len(images) / (time.perf_counter() - started))


def _report(
    candidates: list[Candidate], threads: int, options: argparse.Namespace
) -> dict[str, Any]:
    """Return the results for one number of threads, as JSON holds them."""
    by_name = {candidate.name: candidate for candidate in candidates}
    return {
        "threads": threads,
        "images": options.images,
        "chunk": options.chunk,
        "rounds": options.rounds,
        "onnxruntime": onnxruntime.__version__,
        "rows": [
            {
                "name": candidate.name,
                "images_per_s": median(candidate.rates),
                "to_plain": candidate.against(by_name[PLAIN]),
                "of_ceiling": candidate.against(by_name[CEILING]),
                "changed": candidate.changed,
                "difference": candidate.difference,
            }
            for candidate in candidates
        ],
    }


def _print_table(report: dict[str, Any]) -> None:
    print(
        f"\nthreads: {report['threads']}, images: {report['images']:,} in chunks of"
        f" {report['chunk']}, n = {report['rounds']} rounds, ONNX Runtime {report['onnxruntime']}"
        "\n\n| | images/s | × plain export | of the ceiling | changed | max difference |"
        "\n|---|---|---|---|---|---|"
    )
    for row in report["rows"]:
        low, ratio, high = row["to_plain"]
        low_share, share, high_share = row["of_ceiling"]
        print(
            f"| {row['name']} | {row['images_per_s']:,.0f} | {ratio:.2f} ({low:.2f}–{high:.2f})"
            f" | {share:.0%} ({low_share:.0%}–{high_share:.0%})"
            f" | {row['changed']:,} | {row['difference']:.1g} |"
        )


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("weights", help="a run, a bundle, or a weights.safetensors")
    parser.add_argument("--data", type=Path, help="MNIST's folder; searched for if left out")
    parser.add_argument("--threads", type=int, nargs="+", default=[1])
    parser.add_argument("--chunk", type=int, default=128, help="images per call")
    parser.add_argument("--images", type=int, default=4096, help="images per round")
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--json", action="store_true", help="one line of JSON instead of tables")
    return parser.parse_args()


if __name__ == "__main__":
    main()
