"""Tags that publishing did not make are nobody's: a registry goes on next to them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from releases import RecordingGate, git

from mnistnet.registry.publish import publish
from mnistnet.registry.read import history

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.usefixtures("clone")


def _tag_something_else(registry: Path, name: str) -> str:
    tree = git(registry, "mktree", given="")
    commit = git(registry, "commit-tree", tree, given="something else")
    git(registry, "update-ref", f"refs/tags/{name}", commit)
    return commit


def test_stray_tags_take_no_other_number_than_their_own(
    registry: Path, ada: Path, bob: Path, cleo: Path
) -> None:
    names = ("v999999999", "v1000000000", "v9", "v2", "v3/x", "v1-rc", "latest")
    strays = {f"model/{name}": _tag_something_else(registry, f"model/{name}") for name in names}
    for bundle in (ada, bob, cleo):
        publish(bundle, gate=RecordingGate())
    assert [str(release) for release in history().releases] == ["v1", "v4", "v5"]
    assert {name: git(registry, "rev-parse", f"refs/tags/{name}") for name in strays} == strays


def test_a_stray_tag_that_comes_during_a_publication_is_passed_by(three: Path, dora: Path) -> None:
    gate = RecordingGate()

    def tagged(line: str) -> None:
        if line == "pushing v4":
            _tag_something_else(three, "model/v4")

    assert publish(dora, gate=gate, log=tagged).version == 5
    assert gate.champions == ["cleo", "cleo"]
