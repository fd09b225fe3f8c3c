"""`mnistnet publish`, `history`, `rollback`, `pull`, `diff` at the command line."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from releases import RecordingGate, Run, git, published, refs, verdict_line

from mnistnet.bundle.verify import verify
from mnistnet.gate.checks import Verdict
from mnistnet.text import escape_markdown

pytestmark = pytest.mark.usefixtures("clone")


@pytest.fixture
def lenient(monkeypatch: pytest.MonkeyPatch) -> RecordingGate:
    """Put a quick gate in the real one's place."""
    quick = RecordingGate()

    def gate(candidate: Path, champion: Path | None, *, best: Path | None, **_: object) -> Verdict:
        return quick(candidate, champion, best=best)

    monkeypatch.setattr("mnistnet.gate.judge.judge", gate)
    return quick


@pytest.mark.usefixtures("lenient")
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


@pytest.mark.usefixtures("lenient")
def test_markdown_makes_paragraphs_of_progress_table_and_result(
    registry: Path, ada: Path, run: Run
) -> None:
    code, out, err = run("publish", ada, "--markdown")
    name = escape_markdown(str(ada))
    assert (code, r"\_" in name) == (0, True)
    assert "| pass | replaces | ada | None |" in out
    assert out.endswith(f"|\n\n{name}: published as v1, the first\n")
    assert [line for line in err.splitlines()[1::2] if line] == []
    assert err.endswith(f"… evaluating {name} against no champion\n\n… pushing v1\n\n")
    assert "|" not in git(registry, "log", "-1", "--format=%B", "models")


def test_publish_exits_with_1_where_the_gate_refuses(
    registry: Path, ada: Path, lenient: RecordingGate, run: Run
) -> None:
    lenient.passes = False
    code, out, _ = run("publish", ada)
    assert code == 1
    assert out == f"REFUSED  replaces  ada  None\n{ada}: refused; the champion stays nobody\n"
    assert refs(registry) == {}


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


def test_the_history_as_json(three: Path, run: Run) -> None:
    printed = json.loads(run("history", "--json")[1])
    first, second, last = printed["releases"]
    assert (printed["champion"], last["version"], first["version"]) == ("v3", "v3", "v1")
    assert first["champion_until"] == second["champion_from"]
    assert (last["champion_until"], last["replaces"], last["accuracy"]) == (None, "v2", 0.989)
    assert last["commit"] == git(three, "rev-parse", "models")


@pytest.mark.usefixtures("three")
def test_pull_and_diff_take_versions(tmp_path: Path, few_digits: Path, run: Run) -> None:
    out = tmp_path / "out"
    assert run("pull", "v1", "-o", out)[1] == f"{out}: v1, verified\n"
    verify(out)
    _, words, _ = run("diff", "v1", "v2", "--data", few_digits, "--json")
    assert "v2 minus v1: +0.00 points (95% interval −" in words
    assert json.loads(words.splitlines()[-1])["mcnemar"] == {"n01": 0, "n10": 0, "p": 1.0}


def test_before_the_first_release_the_history_is_empty_and_the_rest_an_error(run: Run) -> None:
    empty = "nothing is published yet on branch models; mnistnet publish does it\n"
    assert run("history")[:2] == (0, empty)
    assert json.loads(run("history", "--json")[1]) == {"champion": None, "releases": []}
    for words in (("rollback", "v1"), ("pull", "-o", "out")):
        code, _, err = run(*words)
        assert code == 2
        assert "branch models has no releases yet" in err


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (("rollback", "v0"), "'v0' is no version"),
        (("pull", "latest", "-o", "x"), "'latest' is no version"),
        (("fingerprint", "--against", "b", "--against-champion"), "name one of them"),
        (("fingerprint", "--answer", "answer"), "goes with --against"),
        (("sign", "b"), "either with --key FILE or with --keyless"),
        (("sign", "b", "--key", "k", "--keyless"), "either with --key FILE or with --keyless"),
        (("sign", "b", "--key", "k", "--if-possible"), "--if-possible goes with --keyless"),
        (("verify", "b", "--public-key", "k", "--identity", "i"), "name one signer"),
        (("verify", "b", "--identity-provider", "p"), "vouches for an --identity"),
        (("verify", "b", "--identity", ""), "is empty"),
        (("pull", "-o", "o", "--identity", "i", "--identity-provider", ""), "is empty"),
    ],
)
def test_unusable_options_are_refused(run: Run, words: tuple[str, ...], problem: str) -> None:
    code, out, err = run(*words)
    assert (code, out) == (2, "")
    assert problem in err
