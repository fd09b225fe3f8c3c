"""`mnistnet publish`, `history`, `rollback`, `pull`, `diff` at the command line."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from releases import RecordingGate, git, published, seal, verdict_line

from mnistnet.bundle.verify import verify
from mnistnet.inference.predictor import DEFAULT_BUNDLE
from mnistnet.text import escape_markdown

if TYPE_CHECKING:
    from releases import Run

    from mnistnet.gate.verdict import Verdict

DATA = str(Path(__file__).parents[2] / "data" / "mnist")


@pytest.fixture
def lenient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Put a quick gate in the real one's place."""

    def gate(candidate: Path, champion: Path | None, *, best: Path | None, **_: object) -> Verdict:
        return RecordingGate()(candidate, champion, best=best)

    monkeypatch.setattr("mnistnet.gate.judge.judge", gate)


@pytest.mark.usefixtures("clone", "lenient")
def test_publish_prints_lines_and_with_json_an_object_at_the_end(
    registry: Path, ada: Path, bob: Path, run: Run
) -> None:
    code, out, err = run("publish", ada)
    assert (code, out) == (0, f"{verdict_line('ada', None)}\n{ada}: published as v1, the first\n")
    assert "… pushing v1\n" in err
    code, out, _ = run("publish", bob, "--dry-run")
    assert out.endswith("would be published as v2, in place of v1\n")
    code, out, _ = run("publish", bob, "--json")
    assert json.loads(out.splitlines()[-1]) == {
        "outcome": "published",
        "version": "v2",
        "replaces": "v1",
        "verdict": "passes all 1 rules",
    }
    code, out, _ = run("publish", bob)
    assert (code, out) == (0, f"{bob}: is the champion already, as v2\n")
    assert published(registry) == ["ada", "bob"]


@pytest.mark.usefixtures("clone", "lenient")
def test_markdown_makes_paragraphs_of_progress_table_and_result(
    registry: Path, ada: Path, run: Run
) -> None:
    folder = ada.rename(ada.with_name("an_ada"))
    code, out, err = run("publish", folder, "--markdown")
    name = escape_markdown(str(folder))
    assert r"an\_ada" in name
    assert code == 0
    assert "| pass | replaces | ada | None |" in out
    assert out.endswith(f"|\n\n{name}: published as v1, the first\n")
    assert [line for line in err.splitlines()[1::2] if line] == []
    assert err.endswith(f"… evaluating {name} against no champion\n\n… pushing v1\n\n")
    assert "|" not in git(registry, "log", "-1", "--format=%B", "models")


@pytest.mark.slow
@pytest.mark.usefixtures("clone")
def test_publish_exits_with_1_where_the_gate_refuses(
    registry: Path, ada: Path, few_digits: Path, tmp_path: Path, run: Run
) -> None:
    rules = tmp_path / "rules.toml"
    rules.write_text("accuracy_floor = 0.9999\n", encoding="utf-8")
    code, out, _ = run("publish", ada, "--data", few_digits, "--rules", rules)
    assert code == 1
    assert "REFUSED" in out
    assert out.endswith(f"{ada}: refused; the champion stays nobody\n")
    assert published(registry) == []


@pytest.mark.usefixtures("clone")
def test_the_history_is_a_table_with_the_champion_on_top(three: Path, run: Run) -> None:
    code, out, _ = run("rollback", "v2")
    assert (code, out) == (0, "v2's bundle: published as v4, in place of v3\n")
    _, out, _ = run("history")
    when = r"\d{4}-\d\d-\d\d \d\d:\d\d"
    lines = out.splitlines()
    assert re.fullmatch(
        rf"\* v4  {when} – now  +99\.10% \(98\.90–99\.27\)  [0-9a-f]{{12}}"
        r"  rollback to v2 .* Owner",
        lines[0],
    )
    assert re.fullmatch(rf"  v3  {when} – {when}  98\.90% .*; withdrawn by v4  Owner", lines[1])
    assert len(lines) == len(published(three)) == 4


@pytest.mark.usefixtures("clone")
def test_the_history_as_json(three: Path, run: Run) -> None:
    _, out, _ = run("history", "--json")
    printed = json.loads(out)
    assert (printed["champion"], [r["version"] for r in printed["releases"]]) == (
        "v3",
        ["v1", "v2", "v3"],
    )
    first, second, last = printed["releases"]
    assert first["champion_until"] == second["champion_from"]
    assert (last["champion_until"], last["replaces"], last["accuracy"]) == (None, "v2", 0.989)
    assert last["commit"] == git(three, "rev-parse", "models")


@pytest.mark.usefixtures("clone")
def test_an_empty_registry_has_an_empty_history(run: Run) -> None:
    assert run("history")[:2] == (
        0,
        "nothing is published yet on branch models; mnistnet publish does it\n",
    )
    assert json.loads(run("history", "--json")[1]) == {"champion": None, "releases": []}


@pytest.mark.usefixtures("clone", "three")
def test_pull_and_diff_take_versions(tmp_path: Path, few_digits: Path, run: Run) -> None:
    out = tmp_path / "out"
    assert run("pull", "v1", "-o", out)[1] == f"{out}: v1, verified\n"
    verify(out)
    _, words, _ = run("diff", "v1", "v2", "--data", few_digits, "--json")
    assert "v2 minus v1: +0.00 points (95% interval −" in words
    assert json.loads(words.splitlines()[-1])["mcnemar"] == {"n01": 0, "n10": 0, "p": 1.0}


@pytest.mark.usefixtures("clone")
@pytest.mark.parametrize("words", [("rollback", "v0"), ("pull", "latest", "-o", "x")])
def test_an_invalid_version_is_refused(run: Run, words: tuple[str, ...]) -> None:
    code, _, err = run(*words)
    assert (code, "is no version" in err) == (2, True)


@pytest.mark.slow
@pytest.mark.usefixtures("clone")
def test_the_real_gate_compares_with_the_champion_of_the_registry(
    registry: Path, tmp_path: Path, run: Run
) -> None:
    first = run("publish", DEFAULT_BUNDLE, "--data", DATA)
    assert first[0] == 0, first
    same_model = shutil.copytree(DEFAULT_BUNDLE, tmp_path / "same-model")
    (same_model / "README.md").write_text("# with another card\n", encoding="utf-8")
    code, out, _ = run("publish", seal(same_model), "--data", DATA)
    assert re.search(r"not worse than champion +\+?0\.0", out), out
    assert (code, len(published(registry))) == (0, 2)
