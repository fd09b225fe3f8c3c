"""The report in a job's summary: figures, and pictures drawn in characters."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
from sklearn import metrics as sk

from mnistnet.report.build import build
from mnistnet.report.contents import Model
from mnistnet.report.summary import render_markdown

PIXELS = {" ": (0, 0), "▄": (0, 1), "▀": (1, 0), "█": (1, 1)}


def test_the_confusion_matrix_is_scikit_learns(report, labels, answers) -> None:
    text = render_markdown(report)
    rows = [line.split("|")[2:-1] for line in text.splitlines() if re.match(r"\| \d", line)]
    matrix = [[int(cell.replace("·", "0")) for cell in row] for row in rows]
    np.testing.assert_array_equal(matrix, sk.confusion_matrix(labels, answers.argmax(axis=1)))


def test_the_worst_mistakes_are_drawn_with_label_and_prediction(report, images) -> None:
    text = render_markdown(report)
    lines = text[text.index("```text\n") + 8 :].splitlines()
    for place, mistake in enumerate(report.mistakes[:8]):
        top, left = place // 4 * 15, place % 4 * 31
        block = [line[left : left + 28].ljust(28) for line in lines[top : top + 15]]
        assert block[0].startswith(f"{mistake.label} as {mistake.prediction}, ")
        pairs = np.array([[PIXELS[c] for c in line] for line in block[1:]])  # (14, 28, 2)
        drawn = pairs.transpose(0, 2, 1).reshape(28, 28)
        np.testing.assert_array_equal(drawn, images[mistake.index] >= 96)


def test_without_mistakes_there_are_no_drawings(predictions, labels) -> None:
    perfect = replace(predictions, probabilities=np.eye(10)[labels])
    assert "```" not in render_markdown(build(perfect, Model("default")))


def test_names_stay_on_their_line_and_are_no_markup_links_or_mentions(make_report) -> None:
    name = "https://e.vil WWW.e.vil a@e.vil @all &#x202e; [x](y) `z` <img src=x>\n# owned"
    text = render_markdown(make_report(name))
    assert re.findall(r".<img", text) == ["\\<img"] * text.count("<img")
    assert "\n# owned" not in text
    line = text.splitlines()[0]
    assert "https\\://e.vil WWW\\.e.vil a@<!-- -->e.vil @<!-- -->all" in line
    assert "\\&\\#x202e; \\[x\\](y) \\`z\\`" in line
