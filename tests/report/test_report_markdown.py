"""The report in a job's summary: figures, and pictures drawn in characters."""

from __future__ import annotations

import numpy as np
from sklearn import metrics as sk

from mnistnet.report.build import build_report
from mnistnet.report.markdown import render_markdown

PIXELS = {" ": (0, 0), "▄": (0, 1), "▀": (1, 0), "█": (1, 1)}


def _rendered(labels, answers, images, name="default"):
    report = build_report(labels, answers, images, dataset={"name": "MNIST"}, model={"name": name})
    return report, render_markdown(report, [f"Accuracy of {name}"])


def test_its_confusion_matrix_is_scikit_learns(labels, answers, images) -> None:
    _, text = _rendered(labels, answers, images)
    rows = [line.split("|")[2:-1] for line in text.splitlines() if line.startswith("| **")]
    matrix = [[int(cell.replace("·", "0")) for cell in row] for row in rows]
    np.testing.assert_array_equal(matrix, sk.confusion_matrix(labels, answers.argmax(axis=1)))


def test_the_worst_mistakes_are_drawn_as_they_are_with_what_they_were_read_as(
    labels, answers, images
) -> None:
    report, text = _rendered(labels, answers, images)
    lines = text[text.index("```text\n") + 8 :].splitlines()
    for place, mistake in enumerate(report["mistakes"][:8]):
        top, left = place // 4 * 15, place % 4 * 31
        block = [line[left : left + 28].ljust(28) for line in lines[top : top + 15]]
        assert block[0].startswith(f"{mistake['label']} read as {mistake['answer']}, ")
        pairs = np.array([[PIXELS[c] for c in line] for line in block[1:]])  # (14, 28, 2)
        drawn = pairs.transpose(0, 2, 1).reshape(28, 28)
        grey = images[mistake["index"]].astype(int)
        clear = abs(grey - 96) > 16  # a report's pictures have sixteen levels of grey
        np.testing.assert_array_equal(drawn[clear], (grey >= 96)[clear])


def test_without_mistakes_there_are_no_drawings(labels, images) -> None:
    _, text = _rendered(labels, np.eye(10, dtype=np.float32)[labels], images)
    assert "```" not in text


def test_names_cannot_break_out_of_their_line(labels, answers, images) -> None:
    _, text = _rendered(labels, answers, images, name="<img src=x>\n# owned")
    assert "<img" not in text
    assert "\n# owned" not in text
