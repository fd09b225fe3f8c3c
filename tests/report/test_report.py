"""The report as data: each figure in it is what scikit-learn or SciPy computes."""

from __future__ import annotations

import base64
import io
import json

import numpy as np
import pytest
from PIL import Image
from scipy import stats
from sklearn import metrics as sk
from sklearn.calibration import calibration_curve

from mnistnet.errors import DataError
from mnistnet.metrics.corruptions import CORRUPTIONS
from mnistnet.metrics.intervals import paired_difference
from mnistnet.report import png
from mnistnet.report.build import MNIST_TEST_LABEL_ERRORS, Against, build_report
from mnistnet.report.html import render_html

ABOUT = {"dataset": {"name": "MNIST"}, "model": {"name": "default"}}


@pytest.fixture(scope="session")
def mislabelled(labels, answers):
    """Two places that are answered wrongly, one answered rightly, one beyond these images."""
    right = answers.argmax(axis=1) == labels
    return [*np.flatnonzero(~right)[:2].tolist(), int(np.flatnonzero(right)[0]), 947]


@pytest.fixture(scope="session")
def report(labels, answers, other_answers, images, mislabelled):
    return build_report(
        labels,
        answers,
        images,
        **ABOUT,
        label_errors=mislabelled,
        threshold=0.7,
        not_digits={"letters": [0.2, 0.9, 0.5], "blank paper": [0.1]},
        against=Against("other", other_answers),
        speed={"digit_images_per_s": 15000},
    )


def picture(uri: str) -> np.ndarray:
    kind, content = uri.split(",")
    assert kind == "data:image/png;base64"
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(content))).convert("L"))


def test_accuracy_and_its_interval_are_scipys(report, labels, answers):
    correct = int((answers.argmax(axis=1) == labels).sum())
    expected = stats.binomtest(correct, 200).proportion_ci(method="wilson")
    accuracy = report["accuracy"]
    assert (accuracy["n"], accuracy["correct"], accuracy["wrong"]) == (200, correct, 200 - correct)
    assert accuracy["value"] == sk.accuracy_score(labels, answers.argmax(axis=1))
    assert (accuracy["low"], accuracy["high"]) == pytest.approx(expected, abs=1e-6)


def test_scores_are_scikit_learns(report, labels, answers):
    answer, digits = answers.argmax(axis=1), list(range(10))
    precision, recall, f1, n = sk.precision_recall_fscore_support(labels, answer, labels=digits)
    for row in report["classes"]:
        d = row["digit"]
        assert row["n"] == n[d]
        figures = (row["precision"], row["recall"], row["f1"])
        assert figures == pytest.approx((precision[d], recall[d], f1[d]), rel=1e-5)
    assert report["confusion_matrix"] == sk.confusion_matrix(labels, answer).tolist()
    nll = sk.log_loss(labels, answers, labels=digits)
    brier = sk.brier_score_loss(labels, answers, labels=digits, scale_by_half=False)
    assert report["negative_log_likelihood"] == pytest.approx(nll, rel=1e-5)
    assert report["brier_score"] == pytest.approx(brier, rel=1e-5)


def test_calibration_is_scikit_learns(report, labels, answers):
    right, confidence = answers.argmax(axis=1) == labels, answers.max(axis=1)
    accuracies, confidences = calibration_curve(right, confidence, n_bins=15)
    filled = [b for b in report["calibration"]["bins"] if b["n"]]
    assert [b["accuracy"] for b in filled] == pytest.approx(list(accuracies), rel=1e-5)
    assert [b["confidence"] for b in filled] == pytest.approx(list(confidences), rel=1e-5)
    weights = np.histogram(confidence, bins=15, range=(0, 1))[0]
    error = np.average(abs(accuracies - confidences), weights=weights[weights > 0])
    assert report["calibration"]["expected_calibration_error"] == pytest.approx(error, rel=1e-5)
    for b in filled:
        ends = stats.binomtest(round(b["accuracy"] * b["n"]), b["n"]).proportion_ci(method="wilson")
        assert (b["accuracy_low"], b["accuracy_high"]) == pytest.approx(ends, abs=1e-6)


def test_what_is_left_above_the_threshold_is_counted(report, labels, answers):
    kept = answers.max(axis=1) >= 0.7
    wrong = (answers.argmax(axis=1) != labels)[kept].sum()
    chosen = report["selective"]["chosen"]
    assert (chosen["answered"], chosen["wrong"]) == (kept.sum(), wrong)
    assert chosen["accuracy"] == pytest.approx(1 - wrong / kept.sum(), rel=1e-5)
    assert report["selective"]["points"][0]["wrong"] == report["accuracy"]["wrong"]


def test_telling_digits_from_other_pictures_is_scikit_learns_auroc(report, answers):
    letters, blank = report["not_digits"]
    truth = [1] * 200 + [0] * 3
    expected = sk.roc_auc_score(truth, [*answers.max(axis=1), 0.2, 0.9, 0.5])
    assert letters == {
        "kind": "letters",
        "n": 3,
        "auroc": pytest.approx(expected, rel=1e-5),
        "refused": 2,
    }
    assert blank["auroc"] == 1


def test_the_worst_mistakes_are_there_with_their_pictures(report, labels, answers, images):
    of_label = answers[np.arange(200), labels]
    wrong = [i for i in np.argsort(of_label) if answers[i].argmax() != labels[i]]
    assert [entry["index"] for entry in report["mistakes"]] == wrong[:24]
    for entry in report["mistakes"]:
        i = entry["index"]
        assert entry["label"] == labels[i]
        assert entry["answer"] == answers[i].argmax()
        assert entry["label_probability"] == pytest.approx(of_label[i], rel=1e-5)
        shown = picture(report["pictures"]["images"][str(i)])
        assert abs(shown.astype(int) - images[i]).max() <= 9  # sixteen greys


def test_known_label_errors_are_marked_and_counted(report, mislabelled):
    assert report["mislabelled"] == {"known": 3, "among_mistakes": 2}
    marked = {entry["index"] for entry in report["mistakes"] if entry["is_mislabelled"]}
    assert marked == set(mislabelled[:2])


def test_a_set_without_known_label_errors_says_nothing_of_them(labels, answers, images):
    assert "mislabelled" not in build_report(labels, answers, images, **ABOUT)
    assert len(MNIST_TEST_LABEL_ERRORS) == 15


def test_the_comparison_is_scipys_exact_test_on_the_same_images(
    report, labels, answers, other_answers
):
    this, other = (p.argmax(axis=1) == labels for p in (answers, other_answers))
    gained, lost = int((this & ~other).sum()), int((other & ~this).sum())
    against = report["against"]
    assert (against["n_gained"], against["n_lost"]) == (gained, lost)
    assert against["p"] == pytest.approx(stats.binomtest(lost, gained + lost).pvalue, rel=1e-5)
    assert against["difference"] == pytest.approx(this.mean() - other.mean(), rel=1e-5)
    low, high = paired_difference(other, this)[1:]
    assert (against["low"], against["high"]) == pytest.approx((low, high), rel=1e-5)
    assert against["verdict"] == "better"
    for kind, places in (("gained", this & ~other), ("lost", other & ~this)):
        assert [e["index"] for e in against[kind]] == np.flatnonzero(places)[:12].tolist()
        for entry in against[kind]:
            assert entry["other_answer"] == other_answers[entry["index"]].argmax()
            assert str(entry["index"]) in report["pictures"]["images"]


@pytest.mark.parametrize(
    ("n_right", "other_right", "verdict"),
    [(20, 5, "better"), (5, 20, "worse"), (20, 18, "cannot tell"), (20, 20, "cannot tell")],
)
def test_verdicts_need_a_p_value_below_5_percent(n_right, other_right, verdict):
    labels = np.zeros(20, int)

    def right(n):
        return np.eye(10)[[0] * n + [1] * (20 - n)]

    report = build_report(
        labels,
        right(n_right),
        np.zeros((20, 28, 28), np.uint8),
        **ABOUT,
        against=Against("other", right(other_right)),
    )
    assert report["against"]["verdict"] == verdict
    assert (report["against"]["p"] < 0.05) == (verdict != "cannot tell")


def test_a_report_shows_a_few_digits_under_each_corruption(labels, answers, images):
    errors = {name: {"wrong": 0, "error": 0.0, "low": 0.0, "high": 1.0} for name in CORRUPTIONS}
    measured = {"seed": 5, "n": 200, "clean_error": 0.0, "mean_error": 0.0, "corruptions": errors}
    report = build_report(labels, answers, images, **ABOUT, robustness={"network": measured})
    pictures = report["pictures"]["corruptions"]
    assert list(pictures) == ["clean", *CORRUPTIONS]
    assert all(picture(uri).shape == (28, 140) for uri in pictures.values())
    assert report["pictures"]["spoilt_digits"] == labels[:5].tolist()  # 7, 2, 1, 0, 4


def test_the_report_is_json_of_a_modest_size_with_timings_under_their_own_key_only(report):
    text = json.dumps(report, indent=2, allow_nan=False)
    assert json.loads(text) == report
    assert len(text) < 150_000
    del report["speed"]
    keys = [line.split(":")[0] for line in json.dumps(report, indent=1).splitlines()]
    assert not [key for key in keys if key.endswith(('_s"', '_ms"', 'per_s"', 'time"', 'date"'))]


def test_a_full_report_fits_into_a_bundle(mnist):
    labels, images = mnist.test.labels, mnist.test.images
    draw = np.random.default_rng(0)
    answers, others = draw.dirichlet(np.ones(10), (2, len(labels)))
    flat = {"seed": 0, "n": 1, "clean_error": 0.0, "mean_error": 0.0}
    spoilt = {name: {"wrong": 0, "error": 0.0, "low": 0.0, "high": 1.0} for name in CORRUPTIONS}
    report = build_report(
        labels,
        answers,
        images,
        **ABOUT,
        label_errors=MNIST_TEST_LABEL_ERRORS,
        against=Against("other", others),
        robustness=dict.fromkeys(("network", "picture"), flat | {"corruptions": spoilt}),
    )
    assert len(json.dumps(report, indent=2)) < 150_000
    assert report["mislabelled"]["known"] == 15


def test_the_same_answers_give_the_same_bytes(labels, answers, images):
    first, second = (json.dumps(build_report(labels, answers, images, **ABOUT)) for _ in range(2))
    assert first == second


@pytest.mark.parametrize("shape", [(1, 1), (3, 5), (28, 28), (28, 140), (300, 1000)])
def test_pictures_are_png_files_that_others_read(shape):
    image = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    decoded = np.asarray(Image.open(io.BytesIO(png.encode(image))).convert("L"))
    assert abs(decoded.astype(int) - image).max() <= 9


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"labels": np.zeros(0, np.uint8)}, "0 labels, but images"),
        ({"labels": np.zeros(199, np.uint8)}, "199 labels, but images"),
        ({"images": np.zeros((200, 28, 28))}, "float64"),
        ({"probabilities": np.eye(10)}, "do not match"),
        ({"probabilities": np.ones((200, 10))}, "sum to 1"),
        ({"file_names": ["a.png"]}, "1 file names for 200 labels"),
        ({"against": Against("other", np.eye(10))}, "must answer the same images"),
        ({"not_digits": {"letters": []}}, "at least one"),
    ],
)
def test_what_cannot_be_judged_is_refused_in_one_line(changed, reason, labels, answers, images):
    given = {"labels": labels, "probabilities": answers, "images": images} | ABOUT | changed
    with pytest.raises(DataError, match=reason) as error:
        build_report(**given)
    assert "\n" not in str(error.value)


def test_no_images_at_all_are_refused():
    with pytest.raises(DataError, match="no images"):
        build_report(
            np.zeros(0, np.uint8), np.zeros((0, 10)), np.zeros((0, 28, 28), np.uint8), **ABOUT
        )


def test_an_image_without_an_answer_is_wrong_and_in_no_figure_on_probabilities(
    labels, answers, other_answers, images
):
    silent = np.flatnonzero((answers.argmax(axis=1) == labels) & (labels == 0))[:2]
    some = answers.copy()
    some[silent] = 0  # no ink was seen: were a zero taken for an answer, it would be right
    report = build_report(
        labels,
        some,
        images,
        **ABOUT,
        undecoded={"a.png": "is damaged"},
        against=Against("other", other_answers),
    )
    kept = np.delete(np.arange(200), silent)
    whole = build_report(labels, answers, images, **ABOUT)
    rest = build_report(labels[kept], answers[kept], images[kept], **ABOUT)
    assert report["accuracy"]["n"] == 200
    assert report["accuracy"]["correct"] == whole["accuracy"]["correct"] - 2
    for part in ("negative_log_likelihood", "brier_score", "calibration", "confusion_matrix"):
        assert report[part] == rest[part]
    found = sk.recall_score(labels, np.where(some.any(axis=1), some.argmax(axis=1), -1), labels=[0],
                            average=None)  # fmt: skip
    assert report["classes"][0]["recall"] == pytest.approx(found[0], rel=1e-5)
    assert report["unread"] == {
        "no_ink": [{"file": f"image {i}", "label": 0} for i in silent],
        "undecoded": {"a.png": "is damaged"},
    }
    lost = other_answers.argmax(axis=1)[silent] == 0
    silent_lost = [e for e in report["against"]["lost"] if e["answer"] is None]
    assert len(silent_lost) == lost.sum()
    page = render_html(report)
    assert "In 2 pictures it found no ink." in page
    assert "1 file could not be read" in page


def test_no_answer_to_any_image_is_refused(labels, images):
    with pytest.raises(DataError, match="no ink"):
        build_report(labels, np.zeros((200, 10)), images, **ABOUT)
