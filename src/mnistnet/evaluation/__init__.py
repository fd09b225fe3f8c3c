"""The yardstick: predictions in, a report out. NumPy only, so that judging needs no torch.

    >>> report = build_report(labels, probabilities, images, dataset=…, model=…)
    >>> page = render_html(report)

`metrics` scores predictions and `certainty` says how sure a score is; `corruptions` spoils
pictures and `robustness` measures what that costs; `report` puts it all into data, `html`
into a page and `markdown` into a summary.
"""

from mnistnet.evaluation.certainty import (
    Interval,
    McNemar,
    MeanInterval,
    PairedDifference,
    mcnemar_exact,
    mean_interval,
    paired_difference,
    wilson_interval,
)
from mnistnet.evaluation.corruptions import CORRUPTIONS, SEVERITIES, corrupt
from mnistnet.evaluation.html import render_html
from mnistnet.evaluation.markdown import render_markdown
from mnistnet.evaluation.metrics import (
    ClassScores,
    ReliabilityBin,
    SelectivePoint,
    accuracy,
    accuracy_above,
    auroc,
    brier_score,
    class_scores,
    confusion_matrix,
    expected_calibration_error,
    negative_log_likelihood,
    reliability_bins,
    selective_accuracy,
    worst_mistakes,
)
from mnistnet.evaluation.report import MNIST_TEST_LABEL_ERRORS, Against, build_report
from mnistnet.evaluation.robustness import measure_robustness

__all__ = [
    "CORRUPTIONS",
    "MNIST_TEST_LABEL_ERRORS",
    "SEVERITIES",
    "Against",
    "ClassScores",
    "Interval",
    "McNemar",
    "MeanInterval",
    "PairedDifference",
    "ReliabilityBin",
    "SelectivePoint",
    "accuracy",
    "accuracy_above",
    "auroc",
    "brier_score",
    "build_report",
    "class_scores",
    "confusion_matrix",
    "corrupt",
    "expected_calibration_error",
    "mcnemar_exact",
    "mean_interval",
    "measure_robustness",
    "negative_log_likelihood",
    "paired_difference",
    "reliability_bins",
    "render_html",
    "render_markdown",
    "selective_accuracy",
    "wilson_interval",
    "worst_mistakes",
]
