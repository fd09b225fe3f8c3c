"""The gate's rules: what each refuses, what it lets through, and how it says so."""

from __future__ import annotations

import json
import tomllib
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mnistnet.errors import FileError
from mnistnet.gate.checks import (
    Check,
    Evidence,
    Latency,
    Measured,
    Parity,
    Rules,
    Served,
    Verdict,
    judge,
    largest_loss_points,
    read_rules,
    refusal,
)

ROOT = Path(__file__).parents[2]
IMAGES = 10_000


def bundle(*wrong: int, **changes: Any) -> Measured:
    """A good bundle that reads some images wrongly: those in range(*wrong)."""
    correct = np.ones(IMAGES, dtype=bool)
    correct[list(range(*wrong))] = False
    good = Measured(
        correct=correct,
        calibration_error=0.04,
        corruption_error=0.12,
        corruption_images=2000,
        parameters=20_826,
        size_bytes=400_000,
    )
    return replace(good, **changes)


GOOD = Evidence(
    candidate=bundle(40),
    parity=Parity(1e-6, 2000),
    served=Served(10, 10),
    champion=bundle(40),
    best=bundle(40),
    latency=Latency(images=1.0, picture=1.0, rounds=30),
)


def refused(verdict: Verdict) -> list[str]:
    return [check.rule for check in verdict.checks if not check.passed]


def candidate(**changes: Any) -> dict[str, Any]:
    return {"candidate": replace(GOOD.candidate, **changes)}


# ---- the rules


def test_a_bundle_as_good_as_its_champion_passes() -> None:
    verdict = judge(GOOD, Rules())
    assert verdict.passed
    assert verdict.summary() == "passes all 13 rules"


@pytest.mark.parametrize(
    ("changes", "rule", "measured", "why"),
    [
        (candidate(parameters=25_000), "parameters", "25,000", "1 too many"),
        (candidate(calibration_error=0.08), "calibration", "0.0800", "8.0 points"),
        (candidate(calibration_error=float("nan")), "calibration", "nan", "nan points"),
        ({"parity": Parity(2e-4, 2000)}, "parity", "0.0002", "not the network of weights"),
        ({"parity": Parity(float("nan"), 2000)}, "parity", "nan", "not the network of weights"),
        ({"served": Served(7, 10)}, "servable", "7 of 10", "3 pictures were read wrongly"),
        ({"served": Served(0, 10, "gave no answer")}, "servable", "0 of 10", "gave no answer"),
        ({"best": bundle(40, 80)}, "not worse than best", "40 answers lost, 40 won", "0.1"),
        (candidate(size_bytes=810_000), "size", "810 kB", "2.02 times as large"),
        ({"latency": Latency(2.1, 1.0, 30)}, "latency of images", "2.10", "2.10 times as long"),
        ({"latency": Latency(1.0, 2.1, 30)}, "latency of a picture", "2.10", "2.10 times as long"),
    ],
)
def test_each_rule_refuses_alone_and_says_what_it_measured_and_why(
    changes: dict[str, Any], rule: str, measured: str, why: str
) -> None:
    verdict = judge(replace(GOOD, **changes), replace(Rules(), loss_to_best_points=0.15))
    (check,) = (check for check in verdict.checks if not check.passed)
    assert check.rule == rule
    assert measured in check.measured
    assert why in check.why
    assert check.against
    assert verdict.summary() == f"refused by 1 of 13 rules: {rule}: {check.why}"


@pytest.mark.parametrize(
    ("right", "rules"), [(9499, ["accuracy", "floor"]), (9500, ["floor"]), (9919, ["floor"])]
)
def test_an_accuracy_under_the_courses_or_our_floor_is_refused(
    right: int, rules: list[str]
) -> None:
    wrong = bundle(IMAGES - right)
    assert refused(judge(replace(GOOD, candidate=wrong, champion=wrong, best=wrong), Rules())) == (
        rules
    )


def test_at_the_limits_a_bundle_passes() -> None:
    limits = Rules()
    at = bundle(
        80,
        parameters=24_999,
        calibration_error=limits.calibration_error,
        corruption_error=0.12 + limits.corruption_excess_points / 100 - 1e-9,
        size_bytes=800_000,
    )
    evidence = replace(
        GOOD,
        candidate=at,
        champion=bundle(80),
        best=bundle(80),
        parity=Parity(1e-4, 2000),
        served=Served(8, 10),
        latency=Latency(2.0, 2.0, 30),
    )
    assert refused(judge(evidence, limits)) == []


@pytest.mark.parametrize(("other", "rule"), [("champion", "champion"), ("best", "best")])
def test_more_mistakes_on_spoilt_pictures_than_the_margin_are_refused(
    other: str, rule: str
) -> None:
    sturdier = bundle(40, corruption_error=0.12 - 0.0461)
    verdict = judge(replace(GOOD, **{other: sturdier}), Rules())
    assert refused(verdict) == [f"corruptions against {rule}"]
    assert "4.61 points higher" in verdict.summary()


# ---- not worse: non-inferiority


def test_a_loss_that_the_interval_rules_out_passes_and_one_that_it_does_not_is_refused() -> None:
    rules = Rules()
    passes = judge(replace(GOOD, candidate=bundle(47)), rules)  # 7 lost: up to 0.14 points
    refuses = judge(replace(GOOD, candidate=bundle(56)), rules)  # 16 lost: up to 0.26 points
    assert passes.passed
    assert refused(refuses) == ["not worse than champion"]
    assert "do not rule out a loss of 0.26 points" in refuses.summary()


def test_the_same_balance_is_refused_where_more_answers_changed() -> None:
    calm = bundle(42)
    restless = bundle(40, 120, 1)  # 80 wrong, none of them the champion's 40
    champion = bundle(40)
    few = judge(replace(GOOD, candidate=calm), Rules())
    many = judge(replace(GOOD, candidate=restless, champion=champion), Rules())
    assert few.passed
    assert "not worse than champion" in refused(many)


def test_too_few_images_to_rule_a_loss_out_are_no_proof_that_there_is_none() -> None:
    few = np.ones(500, dtype=bool)
    small = replace(GOOD.candidate, correct=few)
    evidence = replace(GOOD, candidate=small, champion=small, best=None)
    verdict = judge(evidence, Rules())
    assert refused(verdict) == ["not worse than champion"]
    assert "0 answers lost and 0 won of 500 do not rule out a loss of 0.76" in verdict.summary()


def test_a_better_bundle_passes_and_is_not_praised() -> None:
    verdict = judge(replace(GOOD, candidate=bundle(10)), Rules())
    assert verdict.summary() == "passes all 13 rules"


def test_many_small_steps_down_end_at_the_best_ever_published() -> None:
    best = bundle(40)
    step = judge(replace(GOOD, candidate=bundle(68), champion=bundle(64), best=best), Rules())
    assert refused(step) == ["not worse than best"]


def test_the_largest_loss_is_the_end_of_the_interval_in_points() -> None:
    # The interval of no flip in n images is z²/(n + z²) wide: Tango 1998.
    z2 = 1.959963984540054**2
    same = bundle(40).correct
    assert largest_loss_points(same, same) == pytest.approx(100 * z2 / (IMAGES + z2))


# ---- nothing to compare with


def test_a_first_release_passes_the_relative_rules_and_says_so() -> None:
    verdict = judge(replace(GOOD, champion=None, best=None, latency=None), Rules())
    assert verdict.passed
    relative = {check.rule: check.against for check in verdict.checks if "no " in check.against}
    assert relative == {
        "not worse than champion": "no champion",
        "not worse than best": "no best",
        "corruptions against champion": "no champion",
        "corruptions against best": "no best",
        "size": "no champion",
        "latency of images": "no champion",
        "latency of a picture": "no champion",
    }


def test_a_first_release_is_still_held_to_the_other_rules() -> None:
    first = replace(GOOD, candidate=bundle(600), champion=None, best=None, latency=None)
    assert refused(judge(first, Rules())) == ["accuracy", "floor"]


def test_where_torch_is_missing_parity_rests_on_the_stored_answers() -> None:
    verdict = judge(replace(GOOD, parity=Parity(None, 0)), Rules())
    (check,) = (check for check in verdict.checks if check.rule == "parity")
    assert check.passed
    assert check.against == "vectors.json"


# ---- how it is said


def test_the_table_has_a_line_for_each_rule_and_one_for_each_reason() -> None:
    lines = judge(replace(GOOD, served=Served(7, 10)), Rules()).table().splitlines()
    assert len(lines) == 13 + 1
    (line,) = (i for i, text in enumerate(lines) if text.startswith("REFUSED"))
    assert "servable" in lines[line]
    assert lines[line + 1].strip() == "└ 3 pictures were read wrongly"


def test_what_a_hostile_bundle_says_stays_text_in_markdown() -> None:
    table = refusal("<b>x</b> | [click](http://e.vil) `rm` @all").table(markdown=True)
    row = table.splitlines()[-1]
    assert r"\<b\>x\</b\> \| \[click\](http://e.vil) \`rm\` \@all" in row
    assert "The bundle **refused by 1 of 1 rules**." in table


def test_markdown_is_a_table_of_five_columns() -> None:
    lines = judge(GOOD, Rules()).table(markdown=True).splitlines()
    assert lines[0] == "The bundle **passes all 13 rules**."
    assert len(lines) == 2 + 2 + 13
    assert all(line.count("|") == 6 for line in lines[2:])


def test_a_verdict_is_json() -> None:
    verdict = judge(replace(GOOD, served=Served(7, 10)), Rules())
    read = json.loads(json.dumps(verdict.as_dict()))
    assert read["passed"] is False
    assert read["summary"] == verdict.summary()
    assert Verdict(tuple(Check(**check) for check in read["checks"])) == verdict


# ---- gates.toml


def test_gates_toml_says_every_limit_and_the_defaults_are_the_same() -> None:
    assert tomllib.loads((ROOT / "gates.toml").read_text(encoding="utf-8")) == asdict(Rules())
    assert read_rules(ROOT / "gates.toml") == Rules()


def test_what_a_rules_file_leaves_out_keeps_its_default(tmp_path: Path) -> None:
    (tmp_path / "gates.toml").write_text("accuracy_floor = 0.9\n", encoding="utf-8")
    assert read_rules(tmp_path / "gates.toml") == replace(Rules(), accuracy_floor=0.9)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"acuracy_floor = 0.9", "knows no rule 'acuracy_floor'; there are parameters_below"),
        (b"[margins]\nloss = 1", "knows no rule 'margins'"),
        (b"accuracy_floor = '0.9'", "accuracy_floor is '0.9'; give a number like 0.992"),
        (b"accuracy_floor = true", "accuracy_floor is True"),
        (b"accuracy_floor = 0.0", "accuracy_floor is 0.0; give a number like 0.992, above 0"),
        (b"loss_to_champion_points = nan", "loss_to_champion_points is nan"),
        (b"size_ratio = inf", "size_ratio is inf"),
        (b"size_ratio = -1", "size_ratio is -1"),
        (b"parameters_below = 25000.5", "parameters_below is 25000.5"),
        (b"accuracy_floor 0.9", "is not valid TOML"),
        (b"\xff\xfe", "is not valid TOML"),
        (b"#" * 65_537, "is larger than 65,536 bytes"),
        (b"x = " + b"[" * 5000, "is not valid TOML"),
        (None, "cannot be read"),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_a_rules_file_that_is_not_one_is_refused_in_one_line_that_names_it(
    tmp_path: Path, content: bytes | None, words: str
) -> None:
    path = tmp_path / "gates.toml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(FileError) as caught:
        read_rules(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert words in message
    assert "\n" not in message
