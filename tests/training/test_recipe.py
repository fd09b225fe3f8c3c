"""A recipe is valid, and written and read without loss."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from mnistnet.errors import FileError, RecipeError
from mnistnet.training.recipe import RECIPES, Recipe, recipe_named


@pytest.mark.parametrize("name", RECIPES)
def test_a_written_recipe_reads_back_the_same(name: str, tmp_path: Path) -> None:
    file = tmp_path / "recipe.json"
    file.write_text(json.dumps(RECIPES[name].as_dict()), encoding="utf-8")
    assert recipe_named(str(file)) == RECIPES[name]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("epochs", 0),
        ("epochs", True),
        ("batch_size", -1),
        ("learning_rate", float("nan")),
        ("learning_rate", "fast"),
        ("precision", "float8"),
        ("device", "tpu"),
        ("seed", -1),
        ("validation", 60_000),
    ],
)
def test_an_impossible_value_is_refused_naming_the_field(field: str, value: Any) -> None:
    with pytest.raises(RecipeError, match=field) as error:
        Recipe().replacing(**{field: value})
    assert "\n" not in str(error.value)


def test_an_unknown_field_in_a_file_is_refused_naming_file_and_field(tmp_path: Path) -> None:
    file = tmp_path / "recipe.json"
    file.write_text('{"epochs": 2, "lerning_rate": 0.1}', encoding="utf-8")
    with pytest.raises(RecipeError, match=r"recipe\.json: .*'lerning_rate'.*learning_rate"):
        recipe_named(str(file))


def test_a_recipe_that_names_the_engine_as_older_versions_did_reads_as_native(
    tmp_path: Path,
) -> None:
    file = tmp_path / "recipe.json"
    file.write_text('{"engine": "compiled"}', encoding="utf-8")
    assert recipe_named(str(file)) == Recipe(engine="native", hardest=1.0)


@pytest.mark.parametrize("text", ["", "[1]", "{", '"fast"', "[" * 100_000])
def test_a_file_that_is_no_recipe_is_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "recipe.json"
    file.write_text(text, encoding="utf-8")
    with pytest.raises((RecipeError, FileError), match=r"recipe\.json"):
        recipe_named(str(file))


def test_an_unknown_name_is_refused_with_the_names_there_are() -> None:
    with pytest.raises(RecipeError, match=r"'slow'.*fast"):
        recipe_named("slow")
