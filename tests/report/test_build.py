"""The report as data: its figures are those of the predictions, and how it is written as JSON."""

from __future__ import annotations

import base64
import json
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats
from sklearn import metrics as sk

from mnistnet.errors import DataError
from mnistnet.metrics import scores
from mnistnet.metrics.corruptions import CORRUPTIONS, corrupt
from mnistnet.metrics.intervals import paired_difference, wilson_interval
from mnistnet.report.build import Predictions, build, with_comparison, with_not_digits
from mnistnet.report.contents import Dataset, Model, to_json
from mnistnet.report.page import render_page

MODEL = Model("default")


def test_each_figure_is_the_metric_of_the_predictions(report, labels, answers):
    """What each metric is, tests/metrics compares with scikit-learn and SciPy."""
    correct = int((answers.argmax(axis=1) == labels).sum())
    accuracy = report.accuracy
    assert (accuracy.n, accuracy.correct, accuracy.wrong) == (200, correct, 200 - correct)
    assert (accuracy.low, accuracy.high) == wilson_interval(correct, 200)
    assert report.classes == tuple(scores.class_scores(answers, labels))
    assert report.reliability == tuple(scores.reliability_bins(answers, labels))
    assert report.selective == tuple(scores.selective_accuracy(answers, labels))
    assert report.expected_calibration_error == scores.expected_calibration_error(answers, labels)
    assert report.negative_log_likelihood == scores.negative_log_likelihood(answers, labels)
    assert report.brier_score == scores.brier_score(answers, labels)


def test_what_is_left_above_the_threshold_is_counted(report, labels, answers):
    kept = answers.max(axis=1) >= 0.7
    wrong = (answers.argmax(axis=1) != labels)[kept].sum()
    chosen = report.at_threshold
    assert (chosen.answered, chosen.wrong) == (kept.sum(), wrong)
    assert chosen.accuracy == pytest.approx(1 - wrong / kept.sum(), rel=1e-5)
    assert report.selective[0].wrong == report.accuracy.wrong


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
        ({"probabilities": np.zeros((200, 10))}, "no ink"),
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


def test_in_json_fields_have_their_names_floats_six_digits_and_pixels_are_base64(report, images):
    content = to_json(report)
    assert len(content) < 250_000  # it fits into a bundle
    document = json.loads(content)
    assert document["format"] == 2
    assert document["classes"][3]["digit"] == 3
    assert document["accuracy"]["low"] == float(f"{report.accuracy.low:.6g}")
    first = document["mistakes"][0]
    assert base64.b64decode(first["pixels"]) == images[first["index"]].tobytes()


def test_half_a_character_in_a_file_name_can_be_written(report):
    lone = replace(report, undecoded={"a\udcff.png": "b\udcff"})
    assert json.loads(to_json(lone))["undecoded"] == {"a?.png": "b?"}
