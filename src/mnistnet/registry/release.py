"""A release, the message of its commit, and the state of the registry: all that needs no git.

state = State(parse_log(output, where), tagged)    # output: of git log -z --format=FORMAT
state.champion.accuracy                            # of the last release
state.withdrawn_by(release.bundle)                 # the rollback that withdrew it, or None
text = write_message(record, table)                # table: the gate's, in its full length

A message ends in lines of `Name: value`, git's trailers, so the history is read without fetching
a single bundle. docs/DELIVERY.md lists them. What comes from a remote may be hostile, so they are
matched from beginning to end, and every value is bounded.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property
from itertools import count
from typing import TYPE_CHECKING

from mnistnet.bundle.manifest import manifest_sha256, read_manifest
from mnistnet.errors import RegistryError
from mnistnet.files import sha256
from mnistnet.metrics.intervals import wilson_interval
from mnistnet.text import printable

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from mnistnet.metrics.intervals import Interval

OBJECT_NAME = r"[0-9a-f]{40}(?:[0-9a-f]{24})?"  # git's, by SHA-1 or SHA-256
ACCURACY = re.compile(r"([0-9]{1,9}) of ([1-9][0-9]{0,8}) (test|validation) images")
SOURCE = re.compile(rf"{OBJECT_NAME}( with changes)?")
MODEL_FILES = ("digit.onnx", "picture.onnx", "weights.safetensors")
FIELDS = ("%H", "%T", "%P", "%an", "%cI", "%(trailers:only,unfold)")
FORMAT = "%x00".join(FIELDS)
VERSION = r"v([1-9][0-9]{0,8})"
SHA256 = r"[0-9a-f]{64}"
WITHDRAWS = rf"Withdraws: {VERSION} ({SHA256})\n"
TRAILERS = re.compile(
    rf"Version: {VERSION}\n"
    rf"(?:Replaces: {VERSION} (?P<parent>{OBJECT_NAME})\n)?"
    rf"(?:Rollback-To: {VERSION}\n)?"
    r"Verdict: (?P<verdict>.{1,200})\n"
    r"(?:Accuracy: (?P<accuracy>.{1,60})\n)?"
    rf"(?:Source-Commit: (?P<source>{SOURCE.pattern})\n)?"
    rf"Bundle-SHA256: (?P<bundle>{SHA256})\n"
    rf"Model-SHA256: (?P<model>{SHA256})\n"
    rf"(?P<withdraws>(?:{WITHDRAWS})*)"
)


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
    source: str | None  # the commit that made it; " with changes" if there were any

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
    tagged: dict[int, str]  # what each tag that is called like a version points to

    @property
    def champion(self) -> Release | None:
        """The last release; None before the first."""
        return self.releases[-1] if self.releases else None

    @property
    def next_version(self) -> int:
        """The first number after the champion's that no tag has, of a release or of anything."""
        first = self.champion.version + 1 if self.champion else 1
        return next(number for number in count(first) if number not in self.tagged)

    @cached_property
    def _withdrawn(self) -> dict[str, Release]:
        """The SHA-256 of every withdrawn bundle and model, and the rollback that withdrew it."""
        withdrawn: dict[str, Release] = {}
        for release in self.releases:
            withdrawn |= {digest: release for _, digest in release.withdraws}
            for digest in release.bundle.digests:
                withdrawn.pop(digest, None)  # published again all the same
        return withdrawn

    def withdrawn_by(self, bundle: ReleasedBundle) -> Release | None:
        """Return the rollback that withdrew a bundle or its model, or None."""
        by_bundle = self._withdrawn.get(bundle.bundle_sha256)
        return by_bundle or self._withdrawn.get(bundle.model_sha256)

    def released_with(self, bundle: ReleasedBundle) -> Release | None:
        """Return the last release of this bundle, to the byte, or None."""
        for release in reversed(self.releases):
            if release.bundle.bundle_sha256 == bundle.bundle_sha256:
                return release
        return None

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
    source = (manifest.export or manifest.origin).source
    model = "".join(f"{manifest.files[name].sha256}  {name}\n" for name in MODEL_FILES)
    commit = f"{source['commit']}{' with changes' if source['dirty'] else ''}"
    return ReleasedBundle(
        bundle_sha256=manifest_sha256(bundle),
        model_sha256=sha256(model.encode()),
        source=commit if SOURCE.fullmatch(commit) else None,
    )


def write_message(record: Record, table: str) -> str:
    """Return the message of a release's commit; the table is the gate's, in its full length."""
    accuracy = record.accuracy
    title = f"model {record}"
    if record.rollback_to:
        title += f": back to v{record.rollback_to}"
    elif accuracy:
        title += f": {accuracy.share:.2%} of {accuracy.n:,} images"
    values = {
        "Version": str(record),
        "Replaces": record.replaces and "v{} {}".format(*record.replaces),
        "Rollback-To": record.rollback_to and f"v{record.rollback_to}",
        "Verdict": printable(" ".join(record.verdict.split()))[:200] or "none",
        "Accuracy": accuracy,
        "Source-Commit": record.bundle.source,
        "Bundle-SHA256": record.bundle.bundle_sha256,
        "Model-SHA256": record.bundle.model_sha256,
    }
    trailers = [f"{name}: {value}" for name, value in values.items() if value]
    trailers += [f"Withdraws: v{version} {digest}" for version, digest in record.withdraws]
    lines = [printable(line) for line in (table.strip() or record.verdict).splitlines()]
    return "\n\n".join([title, "\n".join(lines), "\n".join(trailers)]) + "\n"


def parse_log(output: bytes, where: str) -> tuple[Release, ...]:
    """Read releases from what `git log -z --format=FORMAT` prints, `where` for the message.

    Raises:
        RegistryError: one of the commits is no release, or none that follows on the one before.
    """
    fields = output.decode(errors="replace").split("\0")[:-1]
    n = len(FIELDS)
    releases: list[Release] = []
    for i in range(0, len(fields), n):
        before = releases[-1].version if releases else 0
        release = _release(fields[i : i + n])
        if release is None or release.version <= before or (release.replaced or before) != before:
            raise RegistryError(
                f"{where}: commit {fields[i][:12]} is no release of mnistnet publish;"
                " take it off the branch, or give --branch the name of one that holds releases only"
            )
        releases.append(release)
    return tuple(releases)


def _release(fields: Sequence[str]) -> Release | None:
    commit, tree, parents, author, time, trailers = fields
    match = TRAILERS.fullmatch(trailers)
    if match is None or parents != (match["parent"] or ""):  # a merge is no release
        return None
    try:
        moment = datetime.fromisoformat(time)
    except ValueError:
        return None
    version, replaced, rollback_to = match[1], match[2], match[4]
    return Release(
        version=int(version),
        bundle=ReleasedBundle(match["bundle"], match["model"], match["source"]),
        verdict=printable(match["verdict"]),
        accuracy=Accuracy.parse(match["accuracy"] or ""),
        replaces=(int(replaced), match["parent"]) if replaced else None,
        rollback_to=int(rollback_to) if rollback_to else None,
        withdraws=tuple(
            (int(v), digest) for v, digest in re.findall(WITHDRAWS, match["withdraws"])
        ),
        commit=commit,
        tree=tree,
        author=printable(author)[:100],
        time=moment,
    )
