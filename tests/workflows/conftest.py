"""A repository with a first release in it, made by the real workflow file; skipped without act."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from forge import Forge, Run, serving_forge, why_not
from releases import RULES, configure_git

RECIPE = json.dumps({"name": "few", "epochs": 4, "threads": 1})
VARIABLES = {"MNISTNET_RECIPE": "recipe.json", "MNISTNET_DATA": "few"}


@pytest.fixture(scope="module")
def forge(
    tmp_path_factory: pytest.TempPathFactory,
    few_digits: Path,
    onnxruntime_web: Path,  # noqa: ARG001 – its folder is what the stub for npm takes
) -> Iterator[Forge]:
    """A publisher's repository with this project in it, a small data set and a short recipe."""
    if reason := why_not():
        pytest.skip(reason)
    folder = tmp_path_factory.mktemp("forge")
    with pytest.MonkeyPatch.context() as patch, serving_forge(folder) as forge:
        configure_git(folder, patch)
        files = {"README.md": "# Digits\n", "recipe.json": RECIPE, "gates.toml": RULES}
        forge.begin(files | {"few": few_digits}, VARIABLES)
        yield forge


@pytest.fixture(scope="module")
def first_run(forge: Forge) -> Run:
    """What the release workflow made of the first push."""
    return forge.run("release.yml")
