"""A release, and the state of the registry: all that needs no git.

state.champion.accuracy            # of the last release
state.withdrawn_by(release.bundle) # the rollback that withdrew it, or None
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

from mnistnet.bundle.manifest import MANIFEST, read_manifest
from mnistnet.files import sha256
from mnistnet.metrics.intervals import wilson_interval

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

    from mnistnet.metrics.intervals import Interval

OBJECT_NAME = r"[0-9a-f]{40}(?:[0-9a-f]{24})?"  # git's, by SHA-1 or SHA-256
ACCURACY = re.compile(r"([0-9]{1,9}) of ([1-9][0-9]{0,8}) (test|validation) images")
SOURCE = re.compile(rf"{OBJECT_NAME}( with changes)?")
MODEL_FILES = ("digit.onnx", "picture.onnx", "weights.safetensors")


@dataclass(frozen=True)
class Accuracy:
    """How many of the n images of a split are classified correctly, as the gate measured it."""

    correct: int
    n: int
    split: str

    @classmethod
    def parse(cls, text: str) -> Accuracy | None:
        """Read what `str` writes; None for anything else."""
        match = ACCURACY.fullmatch(text)
        if match is None or int(match[1]) > int(match[2]):
            return None
        return cls(int(match[1]), int(match[2]), match[3])

    def __str__(self) -> str:
        return f"{self.correct} of {self.n} {self.split} images"

    @property
    def share(self) -> float:
        """The accuracy, between 0 and 1."""
        return self.correct / self.n

    @property
    def interval(self) -> Interval:
        """Its 95 % interval."""
        return wilson_interval(self.correct, self.n)


@dataclass(frozen=True)
class ReleasedBundle:
    """What the registry records of a bundle, by its manifest."""

    bundle_sha256: str  # of the manifest, which names the SHA-256 of every other file
    model_sha256: str  # of the two graphs and the weights, whatever card comes with them
    source: str | None  # the commit that it was trained from; " with changes" if there were any

    @property
    def digests(self) -> tuple[str, str]:
        """What withdraws it: either SHA-256."""
        return self.bundle_sha256, self.model_sha256


@dataclass(frozen=True, kw_only=True)
class Record:
    """What the message of a release's commit records."""

    version: int
    bundle: ReleasedBundle
    verdict: str  # the gate's, in one line
    accuracy: Accuracy | None  # as the gate measured it; old releases: as the manifest claims
    replaces: tuple[int, str] | None = None  # the version that was champion, and its commit
    rollback_to: int | None = None  # the version whose bundle this is again
    # What is not to be published again: versions, and the SHA-256 of their bundles or models.
    withdraws: tuple[tuple[int, str], ...] = ()

    def __str__(self) -> str:
        return f"v{self.version}"

    @property
    def replaced(self) -> int | None:
        """The version that was champion."""
        return self.replaces[0] if self.replaces else None


@dataclass(frozen=True, kw_only=True)
class Release(Record):
    """One commit of the registry's branch: its record, its author's name, and its time."""

    commit: str
    tree: str
    author: str
    time: datetime


@dataclass(frozen=True)
class State:
    """What the registry holds at one moment."""

    releases: tuple[Release, ...]  # oldest first
    tagged: dict[int, str]  # the commit of each version that has a tag, on the branch or not

    @property
    def champion(self) -> Release | None:
        """The last release; None before the first."""
        return self.releases[-1] if self.releases else None

    @property
    def next_version(self) -> int:
        """A number that was never given, not even to a release that was taken off the branch."""
        return 1 + max([0, *self.tagged, *(release.version for release in self.releases)])

    @cached_property
    def _withdrawn(self) -> dict[str, Release]:
        """The SHA-256 of every withdrawn bundle and model, and the rollback that withdrew it."""
        withdrawn: dict[str, Release] = {}
        for release in self.releases:
            withdrawn |= {digest: release for _, digest in release.withdraws}
            for digest in (release.bundle.bundle_sha256, release.bundle.model_sha256):
                withdrawn.pop(digest, None)  # published again all the same
        return withdrawn

    def withdrawn_by(self, bundle: ReleasedBundle) -> Release | None:
        """Return the rollback that withdrew a bundle or its model, or None."""
        by_bundle = self._withdrawn.get(bundle.bundle_sha256)
        return by_bundle or self._withdrawn.get(bundle.model_sha256)

    def champion_with(self, bundle: ReleasedBundle) -> Release | None:
        """Return the champion, if this is its bundle to the byte; else None."""
        same = self.champion and self.champion.bundle.bundle_sha256 == bundle.bundle_sha256
        return self.champion if same else None

    def next_record(
        self, bundle: ReleasedBundle, verdict: str, accuracy: Accuracy | None
    ) -> Record:
        """Return the record of the next release."""
        return Record(
            version=self.next_version,
            bundle=bundle,
            verdict=verdict,
            accuracy=accuracy,
            replaces=(self.champion.version, self.champion.commit) if self.champion else None,
        )

    def next_rollback(self, target: Release) -> Record:
        """Return the record of a rollback, which withdraws what was first released after a target.

        What an earlier rollback released again is not new: going back and forth withdraws nothing
        that is older than the target.
        """
        until = self.releases.index(target) + 1
        kept = {digest for release in self.releases[:until] for digest in release.bundle.digests}
        last_versions = {
            digest: release.version
            for release in self.releases[until:]
            for digest in release.bundle.digests
            if digest not in kept
        }
        return replace(
            self.next_record(target.bundle, f"rollback to {target}", target.accuracy),
            rollback_to=target.version,
            withdraws=tuple((version, digest) for digest, version in last_versions.items()),
        )

    def best(self) -> Release | None:
        """Return the release with the highest test accuracy of all that are not withdrawn."""
        candidates = [
            (accuracy.share, release.version, release)
            for release in self.releases
            if (accuracy := release.accuracy)
            and accuracy.split == "test"
            and not self.withdrawn_by(release.bundle)
        ]
        return max(candidates)[2] if candidates else None


def describe(bundle: Path) -> ReleasedBundle:
    """Return what the registry records of a bundle. Raises BundleError: it is none."""
    manifest = read_manifest(bundle)
    source = manifest.origin.source
    model = "".join(f"{manifest.files[name].sha256}  {name}\n" for name in MODEL_FILES)
    commit = f"{source['commit']}{' with changes' if source['dirty'] else ''}"
    return ReleasedBundle(
        bundle_sha256=sha256((bundle / MANIFEST).read_bytes()),
        model_sha256=sha256(model.encode()),
        source=commit if SOURCE.fullmatch(commit) else None,
    )
