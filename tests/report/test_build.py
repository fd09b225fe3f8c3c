"""The report as data: each figure in it is what scikit-learn or SciPy computes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats
from sklearn import metrics as sk
from sklearn.calibration import calibration_curve

from mnistnet.errors import DataError
from mnistnet.metrics.corruptions import CORRUPTIONS, corrupt
from mnistnet.metrics.intervals import paired_difference
from mnistnet.report.build import Predictions, build, with_comparison, with_not_digits
from mnistnet.report.contents import Dataset, Model
from mnistnet.report.page import render_page

MODEL = Model("default")


def test_the_figures_are_scikit_learns_and_scipys(report, labels, answers):
    predicted, digits = answers.argmax(axis=1), list(range(10))
    correct = int((predicted == labels).sum())
    accuracy = report.accuracy
    assert (accuracy.n, accuracy.correct, accuracy.wrong) == (200, correct, 200 - correct)
    assert accuracy.value == sk.accuracy_score(labels, predicted)
    expected = stats.binomtest(correct, 200).proportion_ci(method="wilson")
    assert (accuracy.low, accuracy.high) == pytest.approx(expected, abs=1e-6)
    precision, recall, f1, n = sk.precision_recall_fscore_support(labels, predicted, labels=digits)
    for d, scores in enumerate(report.classes):
        assert (scores.digit, scores.n) == (d, n[d])
        figures = (scores.precision, scores.recall, scores.f1)
        assert figures == pytest.approx((precision[d], recall[d], f1[d]))
    np.testing.assert_array_equal(report.confusion_matrix, sk.confusion_matrix(labels, predicted))
    nll = sk.log_loss(labels, answers, labels=digits)
    brier = sk.brier_score_loss(labels, answers, labels=digits, scale_by_half=False)
    figures = (report.negative_log_likelihood, report.brier_score)
    assert figures == pytest.approx((nll, brier), rel=1e-5)


def test_calibration_is_scikit_learns(report, labels, answers):
    right, confidence = answers.argmax(axis=1) == labels, answers.max(axis=1)
    accuracies, confidences = calibration_curve(right, confidence, n_bins=15)
    filled = [b for b in report.reliability if b.n]
    assert [b.accuracy for b in filled] == pytest.approx(list(accuracies), rel=1e-5)
    assert [b.confidence for b in filled] == pytest.approx(list(confidences), rel=1e-5)
    weights = np.histogram(confidence, bins=15, range=(0, 1))[0]
    error = np.average(abs(accuracies - confidences), weights=weights[weights > 0])
    assert report.expected_calibration_error == pytest.approx(error, rel=1e-5)


def test_what_is_left_above_the_threshold_is_counted(report, labels, answers):
    kept = answers.max(axis=1) >= 0.7
    wrong = (answers.argmax(axis=1) != labels)[kept].sum()
    chosen = report.at_threshold
    assert (chosen.answered, chosen.wrong) == (kept.sum(), wrong)
    assert chosen.accuracy == pytest.approx(1 - wrong / kept.sum(), rel=1e-5)
    assert report.selective[0].wrong == report.accuracy.wrong


def test_telling_digits_from_other_pictures_is_scikit_learns_auroc(report, answers):
    letters, blank = report.not_digits
    expected = sk.roc_auc_score([1] * 200 + [0] * 3, [*answers.max(axis=1), 0.2, 0.9, 0.5])
    assert (letters.kind, letters.n, letters.refused) == ("letters", 3, 2)
    assert letters.auroc == pytest.approx(expected, rel=1e-5)
    assert blank.auroc == 1


def test_the_worst_mistakes_are_shown_with_their_pixels(report, labels, answers, images):
    of_label = answers[np.arange(200), labels]
    wrong = [i for i in np.argsort(of_label) if answers[i].argmax() != labels[i]]
    assert [sample.index for sample in report.mistakes] == wrong[:24]
    for sample in report.mistakes:
        i = sample.index
        assert (sample.label, sample.prediction) == (labels[i], answers[i].argmax())
        assert sample.label_probability == pytest.approx(of_label[i])
        assert sample.pixels == images[i].tobytes()


def test_known_label_errors_are_marked_and_counted(report, predictions):
    assert (report.label_errors.known, report.label_errors.among_mistakes) == (3, 2)
    marked = {sample.index for sample in report.mistakes if sample.is_label_error}
    assert marked == set(predictions.label_errors[:2])


def test_only_mnists_own_test_images_have_known_label_errors(mnist):
    answers = np.eye(10)[mnist.test.labels]
    assert len(Predictions.on(mnist, answers).label_errors) == 15
    held_out = mnist.hold_out(100)
    predictions = Predictions.on(held_out, answers[:100], split="validation", name="mine")
    assert predictions.dataset.name == "mine’s validation images"
    assert build(replace(predictions, labels=predictions.labels % 10), MODEL).label_errors is None


def test_the_comparison_is_scipys_exact_test_on_the_same_images(
    report, labels, answers, other_answers
):
    this, other = (p.argmax(axis=1) == labels for p in (answers, other_answers))
    gained, lost = int((this & ~other).sum()), int((other & ~this).sum())
    against = report.against
    assert (against.n_gained, against.n_lost, against.verdict) == (gained, lost, "better")
    assert against.p == pytest.approx(stats.binomtest(lost, gained + lost).pvalue, rel=1e-5)
    difference = (against.difference, against.low, against.high)
    assert difference == pytest.approx(paired_difference(other, this))
    assert against.difference == pytest.approx(this.mean() - other.mean())
    for samples, where in ((against.gained, this & ~other), (against.lost, other & ~this)):
        assert [s.index for s in samples] == np.flatnonzero(where)[:12].tolist()
        assert all(s.other_prediction == other_answers[s.index].argmax() for s in samples)


@pytest.mark.parametrize(
    ("n_right", "other_right", "verdict"),
    [(20, 5, "better"), (5, 20, "worse"), (20, 18, "cannot tell"), (20, 20, "cannot tell")],
)
def test_verdicts_need_a_p_value_below_5_percent(n_right, other_right, verdict):
    def right(n):
        return np.eye(10)[[0] * n + [1] * (20 - n)]

    blank = np.zeros((20, 28, 28), np.uint8)
    predictions = Predictions(Dataset("zeros"), blank, np.zeros(20, int), right(n_right))
    report = build(predictions, MODEL)
    against = with_comparison(report, predictions, MODEL, right(other_right)).against
    assert against.verdict == verdict
    assert (against.p < 0.05) == (verdict != "cannot tell")


def test_each_corruption_is_shown_on_the_same_few_digits(report, labels, images):
    assert len(set(labels[:5])) == 5
    assert list(report.corrupted) == list(CORRUPTIONS)
    expected = np.hstack(list(corrupt(images[:5], "fog", seed=0)))
    assert report.corrupted["fog"] == expected.tobytes()


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"labels": np.zeros(199, np.uint8)}, "199 labels, but images"),
        ({"images": np.zeros((200, 28, 28))}, "float64"),
        ({"probabilities": np.eye(10)}, "do not match"),
        ({"probabilities": np.ones((200, 10))}, "sum to 1"),
        ({"probabilities": np.zeros((200, 10))}, "no ink"),
        (
            {
                "labels": np.zeros(0, np.uint8),
                "probabilities": np.zeros((0, 10)),
                "images": np.zeros((0, 28, 28), np.uint8),
            },
            "no images",
        ),
    ],
)
def test_what_cannot_be_evaluated_is_refused_in_one_line(changed, reason, predictions):
    with pytest.raises(DataError, match=reason) as error:
        build(replace(predictions, **changed), MODEL)
    assert "\n" not in str(error.value)


def test_parts_that_do_not_fit_are_refused(report, predictions):
    with pytest.raises(DataError, match="do not match"):
        with_comparison(report, predictions, MODEL, np.eye(10))
    with pytest.raises(DataError, match="at least one"):
        with_not_digits(report, predictions, {"letters": []})


def test_an_image_without_a_prediction_is_wrong_and_in_no_figure_on_probabilities(
    predictions, labels, answers, other_answers, images
):
    silent = np.flatnonzero((answers.argmax(axis=1) == labels) & (labels == 0))[:2]
    some = answers.copy()
    some[silent] = 0  # no ink: were a row of zeros taken for a prediction, it would be right
    partly = replace(predictions, probabilities=some, undecoded={"a.png": "is damaged"})
    report = with_comparison(build(partly, MODEL), partly, Model("other"), other_answers)
    kept = np.delete(np.arange(200), silent)
    whole = build(predictions, MODEL)
    rest = build(Predictions(Dataset("rest"), images[kept], labels[kept], answers[kept]), MODEL)
    assert report.accuracy.n == 200
    assert report.accuracy.correct == whole.accuracy.correct - 2
    for part in ("negative_log_likelihood", "brier_score", "reliability", "confusion_matrix"):
        assert getattr(report, part) == getattr(rest, part)
    predicted = np.where(some.any(axis=1), some.argmax(axis=1), -1)
    recall = sk.recall_score(labels, predicted, labels=[0], average=None)
    assert report.classes[0].recall == pytest.approx(recall[0], rel=1e-5)
    assert report.no_ink == {f"image {i}": 0 for i in silent}
    lost = int((other_answers.argmax(axis=1)[silent] == 0).sum())
    assert len([s for s in report.against.lost if s.prediction is None]) == lost
    page = render_page(report)
    assert "2 without ink (wrong), 1 not read (not counted)" in page
