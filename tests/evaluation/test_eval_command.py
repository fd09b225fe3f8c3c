"""`mnistnet eval` from end to end; its figures are those of its graphs."""

from __future__ import annotations

import base64
import io
import json
import shutil
import subprocess
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from drawing import Scene, draw_picture
from PIL import Image
from releases import Python, Run
from sklearn import metrics as sk

from mnistnet import Predictor
from mnistnet.bundle.manifest import read_manifest
from mnistnet.data import DataSet
from mnistnet.evaluation import measures
from mnistnet.files import write_json
from mnistnet.inference.decoding import to_rgba
from mnistnet.inference.folders import THUMBNAIL
from mnistnet.inference.predictor import DEFAULT_BUNDLE, HYPOTHESES
from mnistnet.metrics.corruptions import CORRUPTIONS, corrupt
from mnistnet.metrics.negatives import draw_negatives
from mnistnet.training.recipe import recipe_named

N = 40
MANIFEST = read_manifest(DEFAULT_BUNDLE)
NEGATIVES = 20  # of each kind, instead of 100, which takes long
PROGRAM = f"""
import sys
from mnistnet.cli import main
from mnistnet.evaluation import measures
measures.NOT_DIGITS = {NEGATIVES}
main(sys.argv[1:])
"""


@pytest.fixture(scope="module")
def few(mnist: DataSet, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The test images from the 4,400th on, among which are hard ones, as Keras's archive."""
    file = tmp_path_factory.mktemp("data") / "few.npz"
    some = slice(4400, 4400 + N)
    np.savez(
        file,
        x_train=mnist.train.images[:10],
        y_train=mnist.train.labels[:10],
        x_test=mnist.test.images[some],
        y_test=mnist.test.labels[some],
    )
    return file


@pytest.fixture(scope="module")
def forgetful(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose network has forgotten most about the digits 4 and 9."""
    from safetensors.torch import save_file

    from mnistnet.model.network import MnistNet

    folder = tmp_path_factory.mktemp("runs") / "forgetful"
    folder.mkdir()
    net = MnistNet.load(DEFAULT_BUNDLE)
    net.classifier[0].bias.data[[4, 9]] -= 30
    save_file(net.state_dict(), folder / "weights.safetensors")
    recipe = recipe_named("fast").as_dict()
    write_json(folder / "recipe.json", recipe)
    write_json(folder / "origin.json", asdict(MANIFEST.origin) | {"recipe": recipe})
    return folder


@pytest.fixture(scope="module")
def done(
    few: Path, forgetful: Path, python: Python, tmp_path_factory: pytest.TempPathFactory
) -> tuple[subprocess.CompletedProcess[str], Path]:
    """The shipped bundle against the run, with everything, as a process."""
    out = tmp_path_factory.mktemp("out") / "report"
    words = (DEFAULT_BUNDLE, "--against", forgetful, "--data", few, "-o", out, "--json")
    process = python(PROGRAM, "eval", *words)
    assert process.returncode == 0, process.stderr
    return process, out


@pytest.fixture(scope="module")
def report(done: tuple[Any, Path]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((done[1] / "report.json").read_bytes())
    return found


@pytest.fixture(scope="module")
def labels(few: Path) -> Any:
    return np.load(few)["y_test"]


@pytest.fixture(scope="module")
def answers(few: Path) -> Any:
    """The bundle's probabilities, by its graph alone."""
    return _by_graph(np.load(few)["x_test"])


def _by_graph(images: Any) -> Any:
    session = onnxruntime.InferenceSession(DEFAULT_BUNDLE / "digit.onnx")
    return session.run(None, {"images": images})[0]


def _by_picture_graph(pictures: Iterable[Any]) -> tuple[Any, Any, Any]:
    """Return each picture's probabilities, and whether it has ink, and several digits."""
    session = onnxruntime.InferenceSession(DEFAULT_BUNDLE / "picture.onnx")
    outputs = [session.run(None, {"picture": to_rgba(picture)}) for picture in pictures]
    probabilities, _, ink, several, _ = zip(*outputs, strict=True)
    return np.stack(probabilities), np.array(ink), np.array(several)


def test_the_figures_are_of_the_predictions_of_the_graph(
    report: dict[str, Any], labels: Any, answers: Any
) -> None:
    assert report["confusion_matrix"] == sk.confusion_matrix(labels, answers.argmax(1)).tolist()
    nll = sk.log_loss(labels, answers, labels=list(range(10)))
    assert report["negative_log_likelihood"] == pytest.approx(nll, rel=1e-3)


def test_the_verdict_is_between_the_graph_and_the_runs_network(
    report: dict[str, Any], labels: Any, answers: Any, few: Path, forgetful: Path
) -> None:
    import torch

    from mnistnet.model.network import MnistNet, normalise

    with torch.inference_mode():
        other = MnistNet.load(forgetful)(normalise(torch.tensor(np.load(few)["x_test"]))).numpy()
    this, that = answers.argmax(1) == labels, other.argmax(1) == labels
    gained, lost = int((this & ~that).sum()), int((that & ~this).sum())
    against = report["against"]
    assert gained > 5
    assert (against["n_gained"], against["n_lost"]) == (gained, lost)
    assert (against["verdict"], against["model"]["kind"]) == ("better", "run")


def test_robustness_is_the_error_on_corrupted_images_on_both_paths(
    report: dict[str, Any], labels: Any, few: Path
) -> None:
    images = np.load(few)["x_test"]
    network, picture = (report["robustness"][path] for path in ("network", "picture"))
    assert network["n"] == picture["n"] == N
    for name in CORRUPTIONS:
        wrong = int((_by_graph(corrupt(images, name)).argmax(1) != labels).sum())
        assert network["corruptions"][name]["wrong"] == wrong
    probabilities, ink, _ = _by_picture_graph(corrupt(images, "translate"))
    wrong = int((~ink | (probabilities.argmax(1) != labels)).sum())
    assert picture["corruptions"]["translate"]["wrong"] == wrong


def test_what_is_no_digit_goes_through_the_picture_graph(
    report: dict[str, Any], answers: Any
) -> None:
    drawn = draw_negatives(NEGATIVES, seed=0)
    assert [(r["kind"], r["n"]) for r in report["not_digits"]] == [(k, NEGATIVES) for k in drawn]
    first = report["not_digits"][0]
    probabilities, ink, several = _by_picture_graph(drawn[first["kind"]])
    others = np.where(ink, probabilities.max(1), 0)
    auroc = sk.roc_auc_score([1] * N + [0] * NEGATIVES, [*answers.max(1), *others])
    assert first["auroc"] == pytest.approx(auroc, rel=1e-5)
    assert first["refused"] == ((others < MANIFEST.threshold) | several).sum()


def test_size_speed_and_origin_are_the_bundles(report: dict[str, Any]) -> None:
    model = report["model"]
    files = {f.name: f.stat().st_size for f in DEFAULT_BUNDLE.iterdir()}
    assert model["size_bytes"] == {name: files[name] for name in model["size_bytes"]}
    assert set(model["size_bytes"]) == {"manifest.json", *MANIFEST.files}
    assert model["parameters"] == 20_826
    assert model["origin"]["recipe"] == MANIFEST.origin.recipe
    assert model["origin"]["source"] == MANIFEST.origin.source
    assert model["sha256"]["digit.onnx"] == MANIFEST.files["digit.onnx"].sha256
    speed = report["speed"]
    assert (speed["images_per_s"]["n"], speed["ms_per_picture"]["n"]) == (20, N)
    for timed in (speed["images_per_s"], speed["ms_per_picture"]):
        assert 0 < timed["low"] <= timed["median"] <= timed["high"]


def test_eval_prints_progress_a_summary_and_one_json_object(
    done: tuple[subprocess.CompletedProcess[str], Path], report: dict[str, Any]
) -> None:
    process, out = done
    assert "robustness of the picture graph …" in process.stderr.splitlines()
    lines = process.stdout.splitlines()
    assert lines[0].startswith(f"Accuracy: {report['accuracy']['value']:.2%} (95% interval ")
    assert [line.split(":")[0] for line in lines[1:-1]] == [
        "Calibration error",
        "Robustness of the 28×28 network",
        "Robustness of the picture graph",
        "Pictures of no digit, told apart by confidence",
        "Speed",
        "Verdict",
        "Report",
    ]
    assert lines[-3].startswith("Verdict: Better than forgetful (recipe fast) (p = ")
    assert lines[-2] == f"Report: {out / 'report.html'}"
    result = json.loads(lines[-1])
    assert result["accuracy"] == report["accuracy"]
    assert result["against"]["verdict"] == "better"
    assert result["picture_mean_error"] == report["robustness"]["picture"]["mean_error"]
    assert result["not_digits"] == report["not_digits"]
    page = (out / "report.html").read_text("utf-8")
    assert "Better than forgetful (recipe fast)" in page
    assert {file.name for file in out.iterdir()} == {"report.json", "report.html"}


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    """People's own pictures: six digits, blank, damaged, without a label; and a text."""
    folder = tmp_path / "mine"
    for digit in (1, 4, 7):
        (folder / str(digit) / "by-hand").mkdir(parents=True)
        for seed in range(2):
            picture = draw_picture(digit, Scene(), np.random.default_rng(seed))
            Image.fromarray(picture).save(folder / str(digit) / "by-hand" / f"{seed}.png")
    Image.new("L", (90, 90), 255).save(folder / "4" / "blank.png")
    (folder / "7" / "damaged.jpg").write_bytes(b"\xff\xd8\xff and no more")
    (folder / "7" / "notes.txt").write_text("no picture")
    shutil.copy(folder / "1" / "by-hand" / "0.png", folder / "loose.png")
    return folder


def test_own_pictures_are_all_accounted_for(
    mine: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    run: Run,
) -> None:
    monkeypatch.setattr(measures, "NOT_DIGITS", 5)  # instead of 100, which takes long
    code, out, _ = run("eval", DEFAULT_BUNDLE, "--data", mine, "-o", tmp_path / "r")
    assert code == 0
    report = json.loads((tmp_path / "r" / "report.json").read_bytes())
    assert report["accuracy"]["n"] == 7  # without ink is wrong
    pictures = sorted(mine.glob("*/by-hand/*.png"))
    read = [Predictor().predict(p).digit == int(p.relative_to(mine).parts[0]) for p in pictures]
    assert report["accuracy"]["correct"] == sum(read) >= 5
    assert report["no_ink"] == {"4/blank.png": 4}
    assert set(report["undecoded"]) == {"loose.png", "7/damaged.jpg", "7/notes.txt"}
    assert report["undecoded"]["7/damaged.jpg"].startswith("is damaged")
    assert report["classes"][4]["recall"] == pytest.approx(sum(read[2:4]) / 3, rel=1e-5)
    assert report["classes"][4]["n"] == 3
    assert sum(map(sum, report["confusion_matrix"])) == 6
    assert [row["n"] for row in report["not_digits"]] == [5] * 4
    assert "No prediction: 1 without ink (wrong), 3 not read (not counted)" in out
    page = (tmp_path / "r" / "report.html").read_text("utf-8")
    assert "7/damaged.jpg" in page
    assert "4/blank.png" in page

    shutil.copy(pictures[0], pictures[1])
    run("eval", DEFAULT_BUNDLE, "--data", mine, "--quick", "-o", tmp_path / "changed")
    changed = json.loads((tmp_path / "changed" / "report.json").read_bytes())
    assert changed["dataset"]["sha256"] != report["dataset"]["sha256"]


def test_a_mistake_shows_the_picture_and_what_it_was_taken_for(
    mine: Path, tmp_path: Path, run: Run
) -> None:
    one = mine / "1" / "by-hand" / "0.png"
    shutil.copy(one, mine / "7" / "one.png")
    run("eval", DEFAULT_BUNDLE, "--data", mine, "--quick", "-o", tmp_path / "r")
    report = json.loads((tmp_path / "r" / "report.json").read_bytes())
    [mistake] = [m for m in report["mistakes"] if m["name"] == "7/one.png"]
    prediction = Predictor().predict(one)
    assert mistake["hypothesis"] == prediction.hypothesis in HYPOTHESES
    assert base64.b64decode(mistake["pixels"]) == prediction.seen.tobytes()
    with Image.open(io.BytesIO(base64.b64decode(mistake["original"]))) as original:
        assert max(original.size) == THUMBNAIL
    page = (tmp_path / "r" / "report.html").read_text("utf-8")
    assert mistake["original"] in page
    assert f"taken for: {prediction.hypothesis}".replace("'", "&#39;") in page


@pytest.mark.slow  # exporting takes ten seconds
def test_two_models_read_the_same_pictures_of_people(
    mine: Path, forgetful: Path, tmp_path: Path, run: Run
) -> None:
    """The run's picture graph is what an export would make of it."""
    words = (DEFAULT_BUNDLE, "--data", mine, "--against", forgetful, "--quick")
    assert run("eval", *words, "-o", tmp_path / "r")[0] == 0
    against = json.loads((tmp_path / "r" / "report.json").read_bytes())["against"]
    assert against["accuracy"]["n"] == 7
    assert {entry["label"] for entry in against["gained"]} == {4}
    assert against["n_lost"] == 0


def test_a_quick_report_leaves_out_the_slow_parts_and_replaces_an_older_one_and_nothing_else(
    few: Path, tmp_path: Path, run: Run
) -> None:
    out = tmp_path / "r"
    words = ("eval", DEFAULT_BUNDLE, "--data", few, "--quick", "-o", out)
    assert run(*words)[0] == run(*words)[0] == 0
    report = json.loads((out / "report.json").read_bytes())
    assert not any(report[part] for part in ("robustness", "speed", "not_digits", "label_errors"))
    (out / "thesis.tex").write_text("years of work")
    before = (out / "report.json").stat().st_mtime_ns
    assert run(*words)[0] == 2
    assert (out / "report.json").stat().st_mtime_ns == before
    assert sorted(file.name for file in tmp_path.iterdir()) == ["r"]


@pytest.fixture(scope="module")
def broken(forgetful: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of what cannot be evaluated, or evaluated on."""
    from safetensors.torch import load_file, save_file

    folder = tmp_path_factory.mktemp("broken")
    shutil.copytree(DEFAULT_BUNDLE, folder / "bundle")
    content = (folder / "bundle" / "digit.onnx").read_bytes()
    (folder / "bundle" / "digit.onnx").write_bytes(content[:-9] + bytes(9))
    for name in ("unfinished", "diverged"):
        shutil.copytree(forgetful, folder / name)
    (folder / "unfinished" / "weights.safetensors").unlink()
    state = load_file(forgetful / "weights.safetensors")
    state["classifier.0.bias"][3] = float("nan")
    save_file(state, folder / "diverged" / "weights.safetensors")
    for name, n_images, n_labels, side in (
        ("large", 5, 5, 32),
        ("empty", 0, 0, 28),
        ("uneven", 5, 4, 28),
    ):
        some, none = np.zeros((n_images, side, side), np.uint8), np.zeros((1, 28, 28), np.uint8)
        test = {"x_test": some, "y_test": np.zeros(n_labels, np.uint8)}
        np.savez(folder / f"{name}.npz", x_train=none, y_train=np.zeros(1, np.uint8), **test)
    for name in ("no-pictures", "bad-pictures"):
        (folder / name / "3").mkdir(parents=True)
    (folder / "bad-pictures" / "3" / "a.png").write_bytes(b"?")
    return folder


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["bundle"], "has another SHA-256"),
        (["."], "is neither a run"),
        (["nowhere"], "is neither a run"),
        (["unfinished"], "is not a finished run"),
        (["diverged"], "not finite"),
        ([DEFAULT_BUNDLE, "--against", "nowhere"], "is neither a run"),
        ([DEFAULT_BUNDLE, "--data", "nowhere"], "no such folder or file"),
        ([DEFAULT_BUNDLE, "--data", "large.npz"], "large.npz, x_test"),
        ([DEFAULT_BUNDLE, "--data", "empty.npz"], "empty.npz, x_test"),
        ([DEFAULT_BUNDLE, "--data", "uneven.npz"], "holds 4 labels"),
        ([DEFAULT_BUNDLE, "--data", "bundle"], "is neither a data set"),
        ([DEFAULT_BUNDLE, "-o", "bad-pictures/3/a.png/r"], "a.png/r: cannot be written"),
        ([DEFAULT_BUNDLE, "--data", "no-pictures"], "holds no pictures"),
        ([DEFAULT_BUNDLE, "--data", "bad-pictures"], "no picture can be read; 3/a.png: is damaged"),
    ],
)
def test_bad_input_is_one_line_exit_2_and_no_report(
    words: list[str | Path],
    message: str,
    broken: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    run: Run,
) -> None:
    monkeypatch.chdir(broken)
    code, out, err = run("eval", "-o", tmp_path / "out" / "r", *words)
    assert (code, out) == (2, "")
    assert message in err
    assert "predicting" not in err or "picture" in message  # nothing is computed first
    assert not list(tmp_path.glob("out/*"))
