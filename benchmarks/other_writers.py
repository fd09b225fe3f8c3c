"""The shipped model on digits of other writers, through the whole preparation.

    python benchmarks/other_writers.py

scikit-learn's `load_digits`: 1,797 digits of 8×8 pixels, 0–16 grey levels. The preparation was
tuned with them in sight, so this is a development figure, not a test.
"""

from __future__ import annotations

import numpy as np
from sklearn.datasets import load_digits

from mnistnet import Predictor
from mnistnet.metrics.intervals import wilson_interval


def main() -> None:
    """Read all of them, and print how many were read right."""
    digits = load_digits()
    pictures = (digits.images * (255 / 16)).round().astype(np.uint8)
    read = [prediction.digit for prediction in Predictor().predict_many(pictures)]
    correct, n = int(np.sum(np.array(read) == digits.target)), len(read)
    low, high = wilson_interval(correct, n)
    print(f"{correct} of {n:,} right: {correct / n:.1%} (95% interval {low:.1%}–{high:.1%})")


if __name__ == "__main__":
    main()
