"""Bundles, keys and rules for tests, a quick gate, and what a registry holds, as git lists it."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from mnistnet import data as datasets
from mnistnet.bundle import documents
from mnistnet.bundle.manifest import FILES, Fingerprint, read_manifest
from mnistnet.files import json_bytes
from mnistnet.gate.checks import Check, Verdict
from mnistnet.inference.predictor import DEFAULT_BUNDLE, Predictor
from mnistnet.registry.release import describe
from mnistnet.report.build import Predictions, build
from mnistnet.report.contents import Model, as_document

# Of the fixtures that run the command line here, and a program in a process of its own.
Run = Callable[..., tuple[int, str, str]]
Python = Callable[..., subprocess.CompletedProcess[str]]
PEAK_BYTES = r"""
import re, resource, sys
def peak_bytes():  # of this process; on Linux, ru_maxrss starts at its parent's
    if sys.platform == "linux":
        return 1024 * int(re.search(r"VmHWM:\s+(\d+)", open("/proc/self/status").read())[1])
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
"""

# The server of these tests takes pushes with a known length only, so git must not send chunks.
GIT_CONFIG = """\
[user]
name = Owner
email = publisher@example.org
[http]
postBuffer = 100m
"""
# Wide enough for a network that was trained for seconds, on a few digits.
RULES = """\
course_accuracy = 0.8
accuracy_floor = 0.8
calibration_error = 0.3
loss_to_champion_points = 8
loss_to_best_points = 8
corruption_excess_points = 30
picture_floor = 0.5
picture_kind_floor = 0.1
loss_to_champion_picture_points = 40
latency_ratio = 9
"""


def configure_git(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Write the only configuration that git has, the user's name; return its file."""
    config = folder / "gitconfig"
    config.write_text(GIT_CONFIG, encoding="utf-8")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(config))
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    return config


def make_bundle(folder: Path, name: str, *, correct: int = 9900) -> Path:
    """Copy the shipped bundle, with other weights, another title and another accuracy."""
    bundle = shutil.copytree(DEFAULT_BUNDLE, folder / name)
    with (bundle / "weights.safetensors").open("r+b") as weights:
        weights.seek(-len(name), 2)
        weights.write(name.encode())  # in the place of the last number
    report = json.loads((bundle / "report.json").read_bytes())
    report["accuracy"] |= {"correct": correct, "value": correct / 10_000}
    claim(bundle, report)
    lines = (bundle / "README.md").read_text(encoding="utf-8").splitlines()
    (bundle / "README.md").write_text("\n".join([f"# {name}", *lines[1:]]), encoding="utf-8")
    return seal(bundle)


def claim(bundle: Path, report: dict[str, Any], **origin: Any) -> Path:
    """Give a bundle another report, and the manifest and the card that follow from it."""
    manifest = read_manifest(bundle)
    changed = replace(manifest.origin, **origin)
    metrics = documents.metrics_of(report, bundle, "test")
    (bundle / "report.json").write_bytes(json_bytes(report))
    manifest = replace(manifest, origin=changed, metrics=metrics, export=None)
    (bundle / "README.md").write_bytes(documents.card(manifest))
    (bundle / "manifest.json").write_bytes(manifest.to_bytes())
    return seal(bundle)


def measured_on(bundle: Path, data: Path) -> Path:
    """Have a bundle say that it is of a data set, and what is true of its network there."""
    dataset, reader = datasets.load(data), Predictor(bundle)
    answers = Predictions.on(dataset, reader.classify(dataset.test.images))
    report = build(answers, Model("MnistNet"), threshold=reader.threshold)
    return claim(bundle, as_document(report), data=dataset.sha256)


def seal(bundle: Path, **fields: object) -> Path:
    """Write a manifest for the files as they are now."""
    files = {name: Fingerprint.of((bundle / name).read_bytes()) for name in FILES}
    path = bundle / "manifest.json"
    document = json.loads(path.read_bytes()) | fields
    document = {name: value for name, value in document.items() if value is not None}
    document["files"] = {name: vars(fingerprint) for name, fingerprint in files.items()}
    path.write_bytes(json_bytes(document))
    read_manifest(bundle)
    return bundle


def write_pair(folder: Path, name: str, key: Any = None, password: bytes | None = None) -> None:
    """Write NAME.pem, a private key, and NAME.pub."""
    key = key or ec.generate_private_key(ec.SECP256R1())
    encryption = BestAvailableEncryption(password) if password else NoEncryption()
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption)
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    (folder / f"{name}.pem").write_bytes(private)
    (folder / f"{name}.pub").write_bytes(public)


def write_script(path: Path, commands: str) -> Path:
    """Write an executable shell script, a git hook for example."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{commands}\n", encoding="utf-8")
    path.chmod(0o755)
    return path


@dataclass
class RecordingGate:
    """Lets every bundle pass, or none, and records against which bundles it decided.

    It measures nothing: it believes the manifest.
    """

    passes: bool = True
    champions: list[str | None] = field(default_factory=list)
    bests: list[str | None] = field(default_factory=list)

    def __call__(self, candidate: Path, champion: Path | None, *, best: Path | None) -> Verdict:
        self.champions.append(title(champion))
        self.bests.append(title(best))
        check = Check("replaces", str(title(candidate)), str(title(champion)), self.passes)
        metrics = read_manifest(candidate).metrics
        assert metrics is not None
        return Verdict((check,), metrics.correct, metrics.n)


def verdict_line(candidate: str, champion: str | None) -> str:
    """The line of the recording gate's table."""
    return f"pass  replaces  {candidate}  {champion}"


def title(bundle: Path | None) -> str | None:
    return bundle and (bundle / "README.md").read_text(encoding="utf-8").splitlines()[0][2:]


def git(folder: Path, *words: str, given: str | None = None) -> str:
    done = subprocess.run(
        ["git", "-C", str(folder), *words], check=True, capture_output=True, text=True, input=given
    )
    return done.stdout.strip()


def refs(repository: Path) -> dict[str, str]:
    """Every ref of a repository and the commit that it leads to."""
    listed = git(repository, "for-each-ref", "--format=%(refname) %(objectname) %(*objectname)")
    return {words[0]: words[-1] for line in listed.splitlines() if (words := line.split())}


def published(repository: Path, branch: str = "models") -> list[str]:
    """The titles of all releases, oldest first; each has its tag, and is one whole bundle."""
    there = refs(repository)
    if f"refs/heads/{branch}" not in there:
        assert there == {}
        return []
    commits = git(repository, "rev-list", "--reverse", branch).split()
    tags = {f"refs/tags/model/v{i + 1}": commit for i, commit in enumerate(commits)}
    assert there == {f"refs/heads/{branch}": commits[-1], **tags}
    names = "\n".join(sorted([*FILES, "manifest.json"]))
    assert all(git(repository, "ls-tree", "--name-only", c) == names for c in commits)
    return [
        git(repository, "show", f"{commit}:README.md").splitlines()[0][2:] for commit in commits
    ]


def replace_champion(registry: Path, tree: str, message: str, version: int = 3) -> None:
    """Put another commit in the place of the champion, which somebody hostile might do."""
    parents = ("-p", "models~1") if version > 1 else ()
    commit = git(registry, "commit-tree", tree, *parents, given=message)
    git(registry, "update-ref", "refs/heads/models", commit)
    git(registry, "tag", "--force", f"model/v{version}", commit)


def sha256_of(bundle: Path) -> str:
    return describe(bundle).bundle_sha256
