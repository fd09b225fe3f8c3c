"""Compare our training with a conventional script, as alternating processes.

    python benchmarks/race.py [--pairs 3]           # or: make race

Runs `benchmarks/reference.py` and `train.py` alternately, A B A B …, each as a new process with
everything it does: imports, data, training, evaluation, files, and for ours pictures. A machine's
speed varies from minute to minute but hardly within a pair, so the figure to quote is the median
of the pairs' ratios.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

ROOT = Path(__file__).resolve().parent.parent


def main() -> None:
    """Print a line for each pair, then the median ratio and both mean accuracies."""
    pairs: int = _options().pairs
    ratios, ours, theirs = [], [], []
    with tempfile.TemporaryDirectory() as scratch:
        for seed in range(pairs):
            slow_s, slow_accuracy = _run(
                "benchmarks/reference.py", seed, "--out", f"{scratch}/r.safetensors"
            )
            fast_s, fast_accuracy = _run("train.py", seed, "--runs", f"{scratch}/runs")
            ratios.append(slow_s / fast_s)
            theirs.append(slow_accuracy)
            ours.append(fast_accuracy)
            print(
                f"Pair {seed + 1}: reference {slow_s:.1f} s, {slow_accuracy:.2f}%;"
                f" ours {fast_s:.1f} s, {fast_accuracy:.2f}%; ratio {ratios[-1]:.2f}",
                flush=True,
            )
    spread = f"n = {pairs} pairs, {min(ratios):.2f}–{max(ratios):.2f}"
    print(
        f"Median ratio: {median(ratios):.2f}× ({spread});"
        f" mean accuracy: reference {sum(theirs) / pairs:.2f}%, ours {sum(ours) / pairs:.2f}%"
    )


def _run(script: str, seed: int, *arguments: str) -> tuple[float, float]:
    """Run a script; return the process's wall time in s and its test accuracy in %."""
    command = [sys.executable, str(ROOT / script), "--seed", str(seed), *arguments]
    started = time.perf_counter()
    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    wall_s = time.perf_counter() - started
    match = re.search(r"Test accuracy: ([\d.]+)%", done.stdout)
    if match is None:
        sys.exit(f"{script} printed no test accuracy:\n{done.stdout}")
    return wall_s, float(match[1])


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=3)
    return parser.parse_args()


if __name__ == "__main__":
    main()
