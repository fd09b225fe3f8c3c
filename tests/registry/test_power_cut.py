"""What is reported as done is on the disk, and not only in its cache."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import pytest
from releases import RecordingGate, git, published

from mnistnet.registry.publish import publish
from mnistnet.registry.read import pull

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.usefixtures("clone")


def test_a_release_in_a_repository_on_this_machine_is_flushed_to_the_disk(
    registry: Path, ada: Path, git_config: Path, tmp_path: Path
) -> None:
    events = tmp_path / "events"
    for name, value in (("trace2.eventTarget", events), ("core.fsyncMethod", "fsync")):
        git(tmp_path, "config", "--file", str(git_config), name, str(value))
    publish(ada, gate=RecordingGate())
    assert published(registry) == ["ada"]
    lines = [json.loads(line) for line in events.read_text(encoding="utf-8").splitlines()]
    flushed = [int(line["value"]) for line in lines if line.get("key") == "fsync/hardware-flush"]
    objects = int(git(registry, "count-objects").split()[0])
    assert sum(flushed) == objects + len(["refs/heads/models", "refs/tags/model/v1"])


@pytest.mark.usefixtures("three")
def test_every_file_of_a_pulled_bundle_is_flushed_to_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flushed, fsync = set(), os.fsync

    def recorded(descriptor: int) -> None:
        flushed.add(os.fstat(descriptor).st_ino)
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", recorded)
    pull(None, tmp_path / "out")
    files = [*(tmp_path / "out").iterdir()]
    assert {file.stat().st_ino for file in [*files, tmp_path / "out", tmp_path]} <= flushed
    assert len(files) == 7
