"""Show how the threshold for "not sure" was chosen, and what falls below it.

    mnistnet train --recipe release --validation 10000 --name held-out
    python benchmarks/threshold.py runs/held-out

The threshold is the one that `mnistnet export` writes for such a run. Printed are, for several
thresholds, the shares of held-out digits, of mistakes on them, and of drawn pictures of no digit
that lie below each; and how well confidence separates these from the digits (AUROC).
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np

from mnistnet import Predictor
from mnistnet import data as datasets
from mnistnet.bundle.export_run import export_run
from mnistnet.metrics.negatives import draw_negatives
from mnistnet.metrics.scores import accuracy_above, auroc
from mnistnet.training.runs import Run

OTHERS = (0.5, 0.65, 0.7, 0.8, 0.85, 0.9)  # to compare with


def main() -> None:
    """Export a run, predict digits and pictures of no digit, and print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("run", type=Path, help="a run with held-out images (--validation)")
    parser.add_argument("--pictures", type=int, default=500, help="of no digit, of each kind")
    parser.add_argument("--data", type=Path, help="a data set; searched in the usual places")
    options = parser.parse_args()
    recipe = Run(options.run).recipe()
    if not recipe.validation:
        parser.error(f"{options.run}: held out no images; train one with --validation 10000")

    held_out = datasets.load(options.data, validation=recipe.validation).test
    pictures = draw_negatives(options.pictures, seed=0)
    with tempfile.TemporaryDirectory() as folder:
        export_run(options.run, Path(folder) / "bundle", data=options.data)
        predictor = Predictor(Path(folder) / "bundle")
        answers = predictor.classify(held_out.images)
        confidences = {
            kind: np.array([answer.confidence for answer in predictor.predict_many(drawn)])
            for kind, drawn in pictures.items()
        }

    print(f"{len(held_out):,} held-out digits; {options.pictures} drawn pictures of each kind")
    for kind, scores in confidences.items():
        print(f"AUROC, digits against {kind}: {auroc(answers.max(axis=1), scores):.3f}")
    print("not sure, of:  digits  mistakes  " + "  ".join(confidences))
    for threshold in sorted({*OTHERS, predictor.threshold}):
        left = accuracy_above(threshold, answers, held_out.labels)
        wrong = int((answers.argmax(axis=1) != held_out.labels).sum())
        caught = (f"{(scores < threshold).mean():{len(k)}.1%}" for k, scores in confidences.items())
        digits, mistakes = f"{1 - left.coverage:6.1%}", f"{wrong - left.wrong:3} of {wrong:2}"
        chosen = "  ← chosen" if threshold == predictor.threshold else ""
        print(f"{threshold:12.4f}:  {digits} {mistakes:>9}  {'  '.join(caught)}{chosen}")


if __name__ == "__main__":
    main()
