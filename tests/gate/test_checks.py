"""The gate's rules: what each refuses, what it passes, and what it prints."""

from __future__ import annotations

import tomllib
from contextlib import chdir
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mnistnet.errors import FileError
from mnistnet.evaluation.claims import Claim, Claims
from mnistnet.gate.checks import (
    Evidence,
    Measured,
    Parity,
    Verdict,
    apply_rules,
    refuse,
)
from mnistnet.gate.rules import Rules, read_rules
from mnistnet.metrics.pictures import BLANK, KINDS, PicturesRead, PictureSuite
from mnistnet.metrics.robustness import Robustness
from mnistnet.metrics.timing import Spread

ROOT = Path(__file__).parents[2]
IMAGES = 10_000


def robustness(mean_error: float) -> Robustness:
    return Robustness(0, 2000, clean_error=0.004, mean_error=mean_error, corruptions={})


def read(*wrong: int, ink_on_blanks: int = 0, difference: float = 1e-6) -> PicturesRead:
    """Pictures of which some are read as the next digit: those in range(*wrong)."""
    labels = np.array([*(i % 10 for i in range(360)), *[BLANK] * 24], np.int8)
    kinds = np.array([f"{style}, {ink} ink" for style, ink in KINDS])[np.arange(384) // 30 % 12]
    digits = labels.copy()
    digits[list(range(*wrong))] = (digits[list(range(*wrong))] + 1) % 10
    digits[360 : 360 + ink_on_blanks] = 8
    return PicturesRead(PictureSuite((), labels, kinds), digits, difference)


def bundle(*wrong: int, **changes: Any) -> Measured:
    """A good bundle that gets some images wrong: those in range(*wrong)."""
    correct = np.ones(IMAGES, dtype=bool)
    correct[list(range(*wrong))] = False
    return replace(Measured(correct, 0.04, robustness(0.12), read(1), 20_826, 400_000), **changes)


def ratio(median: float) -> Spread:
    return Spread(median, median, median, 30)


GOOD = Evidence(
    candidate=bundle(40),
    parity=Parity(1e-6, 2000),
    claims=Claims((Claim("accuracy", 0.996, 0.996),)),
    champion=bundle(40),
    best=bundle(40),
    images_time=ratio(1.0),
    picture_time=ratio(1.0),
)


def decide(rules: Rules | None = None, **changes: Any) -> Verdict:
    return apply_rules(replace(GOOD, **changes), rules or Rules())


def refused(verdict: Verdict) -> list[str]:
    return [check.rule for check in verdict.checks if not check.passed]


def pictures(*wrong: int, **changes: Any) -> dict[str, Any]:
    return {"candidate": bundle(40, pictures=read(*(wrong or (1,)), **changes))}


def claiming(name: str, figure: float) -> dict[str, Any]:
    return {"claims": Claims((Claim(name, figure, 0.996),))}


# ---- the rules


@pytest.mark.parametrize(
    ("changes", "rule", "measured", "why"),
    [
        ({"candidate": bundle(40, parameters=25_000)}, "parameters", "25,000", "1 too many"),
        ({"candidate": bundle(40, calibration_error=0.08)}, "calibration", "0.0800", "8.0 points"),
        ({"candidate": bundle(40, calibration_error=np.nan)}, "calibration", "nan", "nan points"),
        ({"parity": Parity(2e-4, 2000)}, "parity", "0.0002", "not the network of weights"),
        ({"parity": Parity(np.nan, 2000)}, "parity", "nan", "not the network of weights"),
        (pictures(difference=0.3), "picture parity", "within 0.3 on 384", "picture.onnx is not"),
        (pictures(difference=np.inf), "picture parity", "inf", "not the network of digit.onnx"),
        (pictures(ink_on_blanks=1), "blank pages", "95.83% of 24", "1 of 24 blank pages are wrong"),
        (
            pictures(5),
            "worst kind of picture",
            "of scan, dark ink",
            "5 of 30 pictures of scan, dark ink are wrong; 4 may",
        ),
        (pictures(9, 360, 60), "worst kind of picture", "of the digit 9", "6 of 36 pictures of"),
        (
            claiming("accuracy", 0.9968),
            "claims",
            "0 of 1",
            "claims accuracy 0.9968, measured 0.996",
        ),
        ({"claims": Claims(problem="it is of other data")}, "claims", "0 of 0", "of other data"),
        ({"best": bundle(40, 80)}, "not worse than best", "40 answers lost, 40 won", "0.1"),
        ({"candidate": bundle(40, size_bytes=810_000)}, "size", "810 kB", "2.02 times as large"),
        ({"images_time": ratio(2.1)}, "latency of images", "2.10", "2.10 times as long"),
        ({"picture_time": ratio(2.1)}, "latency of a picture", "2.10", "2.10 times as long"),
    ],
)
def test_each_rule_refuses_alone_with_what_it_measured_and_why(
    changes: dict[str, Any], rule: str, measured: str, why: str
) -> None:
    rules = Rules(loss_to_best_points=0.15, loss_to_champion_picture_points=9)
    verdict = decide(rules, **changes)
    (check,) = (check for check in verdict.checks if not check.passed)
    assert check.rule == rule
    assert measured in check.measured
    assert why in check.why
    assert check.against
    assert verdict.summary() == f"refused by 1 of 18 rules: {rule}: {check.why}"


@pytest.mark.parametrize(
    ("correct", "rules"), [(9499, ["accuracy", "floor"]), (9500, ["floor"]), (9919, ["floor"])]
)
def test_an_accuracy_under_the_courses_or_our_floor_is_refused(
    correct: int, rules: list[str]
) -> None:
    low = bundle(IMAGES - correct)
    assert refused(decide(candidate=low, champion=low, best=low)) == rules


def test_at_the_limits_a_bundle_passes() -> None:
    limits = Rules()
    at = bundle(
        80,
        parameters=24_999,
        calibration_error=limits.calibration_error,
        robustness=robustness(0.12 + limits.corruption_excess_points / 100 - 1e-9),
        size_bytes=800_000,
        pictures=read(0, 360, 37, difference=1e-4),  # 10 of 360 wrong, one of each digit
    )
    others = {"champion": bundle(80, pictures=at.pictures), "best": bundle(80)}
    times = {"images_time": ratio(2.0), "picture_time": ratio(2.0)}
    verdict = decide(
        candidate=at,
        parity=Parity(1e-4, 2000),
        claims=Claims((Claim("n", 9.0, 9),)),
        **others,
        **times,
    )
    assert refused(verdict) == []


@pytest.mark.parametrize("other", ["champion", "best"])
def test_more_mistakes_under_corruption_than_the_margin_are_refused(other: str) -> None:
    verdict = decide(**{other: bundle(40, robustness=robustness(0.12 - 0.0461))})
    assert refused(verdict) == [f"corruptions against {other}"]
    assert "4.61 points higher" in verdict.summary()


# ---- non-inferiority


def test_a_loss_passes_only_if_the_interval_rules_out_the_margin() -> None:
    assert decide(candidate=bundle(47)).passed  # 7 lost: up to 0.14 points
    refuses = decide(candidate=bundle(56))  # 16 lost: up to 0.26 points
    assert refused(refuses) == ["not worse than champion"]
    assert "do not rule out a loss of 0.26 points" in refuses.summary()


def test_a_loss_on_pictures_passes_only_if_the_interval_rules_out_the_margin() -> None:
    assert decide(**pictures(0, 120, 30)).passed  # 4 wrong, the champion's one among them
    refuses = decide(**pictures(0, 360, 36))  # 10
    assert refused(refuses) == ["not worse than champion on pictures"]
    assert "9 answers lost and 0 won of 360 do not rule out a loss" in refuses.summary()


# ---- nothing to compare with


def test_a_first_release_passes_the_relative_rules_and_is_held_to_the_others() -> None:
    alone = {"champion": None, "best": None, "images_time": None, "picture_time": None}
    verdict = decide(**alone)
    assert verdict.passed
    relative = {check.rule: check.against for check in verdict.checks if "no " in check.against}
    assert relative == {
        "not worse than champion": "no champion",
        "not worse than best": "no best",
        "corruptions against champion": "no champion",
        "corruptions against best": "no best",
        "not worse than champion on pictures": "no champion",
        "size": "no champion",
        "latency of images": "no champion",
        "latency of a picture": "no champion",
    }
    assert refused(decide(candidate=bundle(600), **alone)) == ["accuracy", "floor"]


# ---- the verdict


def test_the_table_has_a_line_for_each_rule_and_one_for_each_reason() -> None:
    lines = decide(parity=Parity(1, 100)).table().splitlines()
    assert len(lines) == 18 + 1
    (line,) = (i for i, text in enumerate(lines) if text.startswith("REFUSED"))
    assert "parity" in lines[line]
    assert lines[line + 1].strip().startswith("└ digit.onnx is not the network of")


def test_markdown_is_a_table_of_five_columns_whose_cells_stay_text() -> None:
    lines = decide(candidate=bundle(10)).table(markdown=True).splitlines()
    assert lines[0] == "The bundle **passes all 18 rules**."
    assert len(lines) == 2 + 2 + 18
    assert all(line.count("|") == 6 for line in lines[2:])
    hostile = refuse("<b>x</b> | [click](http://e.vil) `rm` @all").table(markdown=True)
    assert "The bundle **refused by 1 of 1 rules**." in hostile
    row = hostile.splitlines()[-1]
    assert r"\<b\>x\</b\> \| \[click\](http\://e.vil) \`rm\` @<!-- -->all" in row


# ---- gates.toml


def test_gates_toml_holds_every_limit_and_the_defaults_are_the_same() -> None:
    assert tomllib.loads((ROOT / "gates.toml").read_text(encoding="utf-8")) == asdict(Rules())


def test_a_limit_that_is_left_out_keeps_its_default(tmp_path: Path) -> None:
    with chdir(tmp_path):
        assert read_rules() == Rules()
        Path("gates.toml").write_text("accuracy_floor = 0.9\n", encoding="utf-8")
        assert read_rules() == Rules(accuracy_floor=0.9)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"acuracy_floor = 0.9", "knows no rule 'acuracy_floor'; there are parameters_below"),
        (b"accuracy_floor = '0.9'", "accuracy_floor is '0.9'; give a number like 0.992"),
        (b"accuracy_floor = 0.0", "accuracy_floor is 0.0; give a number like 0.992, above 0"),
        (b"loss_to_champion_points = nan", "loss_to_champion_points is nan"),
        (b"parameters_below = 25000.5", "parameters_below is 25000.5"),
        (b"accuracy_floor = true", "accuracy_floor is True"),
        (b"accuracy_floor 0.9", "is not valid TOML"),
        (b"\xff\xfe", "is not valid TOML"),
        (b"#" * 65_537, "is larger than 65,536 bytes"),
        (b"x = " + b"[" * 5000, "is not valid TOML"),
        (None, "cannot be read"),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_a_broken_rules_file_is_refused_in_one_line_that_names_it(
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
