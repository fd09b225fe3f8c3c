"""The gate refuses a bundle whose picture.onnx reads pictures wrongly, however whole it is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from sabotage import SABOTAGE, edit_picture_graph

from mnistnet.bundle.verify import verify
from mnistnet.gate.checks import Verdict
from mnistnet.gate.judge import Evaluator, judge
from mnistnet.inference.predictor import DEFAULT_BUNDLE


@pytest.fixture(scope="module")
def evaluator(tiny: Path) -> Evaluator:
    return Evaluator(tiny)


def refused(verdict: Verdict) -> set[str]:
    return {check.rule for check in verdict.checks if not check.passed}


@pytest.mark.parametrize(
    "name",
    [*list(SABOTAGE)[:2], *(pytest.param(k, marks=pytest.mark.slow) for k in list(SABOTAGE)[2:])],
)
def test_a_picture_graph_that_errs_is_refused_with_and_without_a_champion(
    bundle: Path,
    evaluator: Evaluator,
    lenient_rules: Path,
    images: NDArray[np.uint8],
    monkeypatch: pytest.MonkeyPatch,
    name: str,
) -> None:
    monkeypatch.setattr("mnistnet.gate.judge.ROUNDS", 3)
    measured = []
    monkeypatch.setattr(
        "mnistnet.gate.judge.verify", lambda folder: measured.append(folder) or verify(folder)
    )
    edit, rules = SABOTAGE[name]
    verify(edit_picture_graph(bundle, edit, images[:100]))
    first = judge(bundle, rules=lenient_rules, evaluator=evaluator)
    assert refused(first) == rules, first.table()
    next_one = judge(bundle, DEFAULT_BUNDLE, rules=lenient_rules, evaluator=evaluator)
    relative = set() if rules == {"blank pages"} else {"not worse than champion on pictures"}
    assert refused(next_one) == rules | relative, next_one.table()
    assert measured.count(bundle) == 1  # for a new champion, the candidate is not measured again
