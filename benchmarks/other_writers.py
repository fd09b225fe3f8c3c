"""Measure the shipped model on digits of other writers, through the picture graph.

    python benchmarks/other_writers.py

scikit-learn's `load_digits`: 1,797 digits of 8×8 pixels, 0–16 grey levels. The picture graph was
tuned on them too, so this is a development figure, not a test.
"""

from __future__ import annotations

import numpy as np
from sklearn.datasets import load_digits

from mnistnet import Predictor
from mnistnet.metrics.intervals import wilson_interval


def main() -> None:
    """Predict all of them, and print the accuracy."""
    digits = load_digits()
    pictures = (digits.images * (255 / 16)).round().astype(np.uint8)
    predicted = [prediction.digit for prediction in Predictor().predict_many(pictures)]
    correct, n = int(np.sum(np.array(predicted) == digits.target)), len(predicted)
    low, high = wilson_interval(correct, n)
    print(f"{correct} of {n:,} correct: {correct / n:.1%} (95% interval {low:.1%}–{high:.1%})")


if __name__ == "__main__":
    main()
