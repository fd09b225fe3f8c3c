"""Rules that can be met with a hundred test images."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def lenient_rules(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A rules file."""
    rules = tmp_path_factory.mktemp("rules") / "few.toml"
    rules.write_text("loss_to_champion_points = 5\nloss_to_best_points = 5\nlatency_ratio = 9\n")
    return rules
