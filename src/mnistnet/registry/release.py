"""A release: a bundle's entry in the registry, as data and as the message of its commit.

    release = parse_commit(commit, content)        # what a commit of the branch says
    text = message(notes, table)                   # what the next one is to say

The message ends in lines of `Name: value` (git calls them trailers), so that the history is read
without fetching a single bundle. docs/DELIVERY.md lists them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from typing import TYPE_CHECKING

from mnistnet.bundle.manifest import MANIFEST, read_manifest
from mnistnet.errors import RegistryError
from mnistnet.files import sha256
from mnistnet.metrics.intervals import wilson_interval
from mnistnet.text import printable

if TYPE_CHECKING:
    from pathlib import Path

    from mnistnet.bundle.manifest import Manifest
    from mnistnet.metrics.intervals import Interval

OBJECT_NAME = r"[0-9a-f]{40}(?:[0-9a-f]{24})?"
VERSION = r"v([1-9][0-9]{0,8})"
SHA256 = r"[0-9a-f]{64}"
MODEL_FILES = ("digit.onnx", "picture.onnx", "weights.safetensors")
ACCURACY = r"([0-9]{1,9}) of ([1-9][0-9]{0,8}) (test|validation) images"
TRAILERS = {  # name → what its value must be, from beginning to end
    "Version": VERSION,
    "Replaces": rf"{VERSION} ({OBJECT_NAME})",
    "Rollback-To": VERSION,
    "Verdict": r"(.{1,200})",
    "Accuracy": ACCURACY,
    "Source-Commit": rf"({OBJECT_NAME})( with changes)?",
    "Bundle-SHA256": rf"({SHA256})",
    "Model-SHA256": rf"({SHA256})",
    "Withdraws": rf"{VERSION} ({SHA256})",
}
HEADER = re.compile(
    rf"tree (?P<tree>{OBJECT_NAME})\n"
    rf"(?:parent (?P<parent>{OBJECT_NAME})\n)?"  # two of them, a merge, are no release
    r"author (?P<who>[^\n<]*) <[^\n>]*> [^\n]*\n"
    r"committer [^\n<]* <[^\n>]*> (?P<when_s>[0-9]{1,11}) (?P<zone>[+-][0-9]{4})\n"
)


@dataclass(frozen=True)
class Accuracy:
    """How many images of a set were read rightly, by the bundle's own manifest."""

    correct: int
    n: int
    judged_on: str

    @property
    def share(self) -> float:
        """As a share of them all."""
        return self.correct / self.n

    @property
    def interval(self) -> Interval:
        """Its 95 % interval."""
        return wilson_interval(self.correct, self.n)


@dataclass(frozen=True)
class Facts:
    """What the registry writes down of a bundle.

    Attributes:
        bundle_sha256: of its manifest, which names the SHA-256 of every other file.
        model_sha256: of what answers: the graphs and the weights, whatever is said about them.
        accuracy: None where the manifest does not say.
        source: the commit that it was trained from, with " with changes" if there were any.
    """

    bundle_sha256: str
    model_sha256: str
    accuracy: Accuracy | None
    source: str | None


@dataclass(frozen=True)
class Notes:
    """What a release says of itself.

    Attributes:
        replaces: the version that was champion, and its commit; None for the first release.
        rollback_to: the version whose bundle this is again.
        verdict: the gate's, in one line.
        withdraws: what is not to be published again: a version, and the SHA-256 of its bundle or
            of its model.
    """

    version: int
    facts: Facts
    verdict: str
    replaces: tuple[int, str] | None = None
    rollback_to: int | None = None
    withdraws: tuple[tuple[int, str], ...] = ()


@dataclass(frozen=True)
class Release:
    """One commit of the registry's branch: what it says, and who wrote it when."""

    commit: str
    tree: str
    who: str
    when: datetime
    notes: Notes

    @property
    def name(self) -> str:
        """As people call it: v7."""
        return f"v{self.notes.version}"

    @property
    def facts(self) -> Facts:
        """What is known of its bundle."""
        return self.notes.facts


def facts_of(bundle: Path) -> Facts:
    """Take down what the registry keeps of a bundle. Raises BundleError: it is none."""
    manifest = read_manifest(bundle)
    model = "".join(f"{manifest.files[name].sha256}  {name}\n" for name in MODEL_FILES)
    return Facts(
        bundle_sha256=sha256((bundle / MANIFEST).read_bytes()),
        model_sha256=sha256(model.encode()),
        accuracy=_accuracy(manifest),
        source=_source(manifest),
    )


def _accuracy(manifest: Manifest) -> Accuracy | None:
    """Read it out of metrics that may hold anything."""
    correct, n = manifest.metrics.get("correct"), manifest.metrics.get("n")
    judged_on = manifest.metrics.get("judged_on")
    match = re.fullmatch(ACCURACY, f"{correct} of {n} {judged_on} images")
    return _parsed_accuracy(match) if match else None


def _parsed_accuracy(match: re.Match[str]) -> Accuracy | None:
    correct, n = int(match[1]), int(match[2])
    return Accuracy(correct, n, match[3]) if correct <= n else None


def _source(manifest: Manifest) -> str | None:
    changed = " with changes" if manifest.origin.source["dirty"] else ""
    source = f"{manifest.origin.source['commit']}{changed}"
    return source if re.fullmatch(TRAILERS["Source-Commit"], source) else None


def message(notes: Notes, table: str) -> str:
    """Write the message of a release's commit; the table is the gate's, in its full length."""
    facts = notes.facts
    title = f"model v{notes.version}"
    if notes.rollback_to:
        title += f": back to v{notes.rollback_to}"
    elif facts.accuracy:
        title += f": {facts.accuracy.share:.2%} of {facts.accuracy.n:,} images"
    return f"{title}\n\n{table.strip() or notes.verdict}\n\n" + "".join(
        f"{name}: {value}\n" for name, value in _trailers(notes)
    )


def _trailers(notes: Notes) -> list[tuple[str, str]]:
    facts, trailers = notes.facts, [("Version", f"v{notes.version}")]
    if notes.replaces:
        trailers.append(("Replaces", "v{} {}".format(*notes.replaces)))
    if notes.rollback_to:
        trailers.append(("Rollback-To", f"v{notes.rollback_to}"))
    trailers.append(("Verdict", " ".join(notes.verdict.split())[:200] or "none"))
    if facts.accuracy:
        a = facts.accuracy
        trailers.append(("Accuracy", f"{a.correct} of {a.n} {a.judged_on} images"))
    if facts.source:
        trailers.append(("Source-Commit", facts.source))
    trailers.append(("Bundle-SHA256", facts.bundle_sha256))
    trailers.append(("Model-SHA256", facts.model_sha256))
    return trailers + [("Withdraws", f"v{version} {digest}") for version, digest in notes.withdraws]


def parse_commit(commit: str, content: bytes, where: str) -> Release:
    """Make sense of a commit; `where` it lies is for the message.

    Raises:
        RegistryError: it is not a release of ours.
    """
    text = content.decode(errors="replace")
    header = HEADER.match(text)
    notes = _parse_notes(text)
    replaced = notes.replaces[1] if notes and notes.replaces else None
    if header is None or notes is None or header["parent"] != replaced:
        raise RegistryError(
            f"{where}: commit {commit[:12]} is no release of mnistnet publish; take it off the"
            " branch, or give --branch the name of one that holds releases only"
        )
    who = printable(header["who"])
    when = datetime.fromtimestamp(int(header["when_s"]), _zone(header["zone"]))
    return Release(commit, header["tree"], who, when, notes)


def _parse_notes(text: str) -> Notes | None:
    """Read the trailers; None if one that must be there is missing, or one is not as it must be."""
    found: dict[str, list[re.Match[str]]] = {name: [] for name in TRAILERS}
    for line in text.rstrip("\n").rsplit("\n\n", 1)[-1].split("\n"):
        name, _, value = line.partition(": ")
        match = re.fullmatch(TRAILERS[name], value) if name in TRAILERS else None
        if match is None:
            return None
        found[name].append(match)
    if any(len(matches) > 1 for name, matches in found.items() if name != "Withdraws"):
        return None
    first = {name: matches[0] for name, matches in found.items() if matches}
    if not {"Version", "Verdict", "Bundle-SHA256", "Model-SHA256"} <= set(first):
        return None
    replaces, rollback_to = first.get("Replaces"), first.get("Rollback-To")
    return Notes(
        version=int(first["Version"][1]),
        facts=Facts(
            bundle_sha256=first["Bundle-SHA256"][1],
            model_sha256=first["Model-SHA256"][1],
            accuracy=_parsed_accuracy(first["Accuracy"]) if "Accuracy" in first else None,
            source=first["Source-Commit"][0] if "Source-Commit" in first else None,
        ),
        verdict=first["Verdict"][1],
        replaces=(int(replaces[1]), replaces[2]) if replaces else None,
        rollback_to=int(rollback_to[1]) if rollback_to else None,
        withdraws=tuple((int(match[1]), match[2]) for match in found["Withdraws"]),
    )


def _zone(offset: str) -> timezone:
    minutes = int(offset[1:3]) * 60 + int(offset[3:])
    sign = -1 if offset[0] == "-" else 1
    return timezone(sign * timedelta(minutes=minutes)) if 0 < minutes < 24 * 60 else UTC
