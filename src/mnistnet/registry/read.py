"""`mnistnet history`, `pull [vN] -o DIR`, `diff vA vB`: read what was published.

    history(remote="origin").champion                # a Release
    pull(None, Path("bundle"))                       # the champion's bundle
    changed_since_champion(training, export)         # is there anything to train, or to export?
    diff(3, 4).difference                            # on the same test images

`remote` is a remote's name in the clone that the command is run in, or a URL or path; `branch` is
the registry's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mnistnet import data as datasets
from mnistnet.bundle.manifest import read_manifest, replace_bundle
from mnistnet.files import write_bytes
from mnistnet.inference import Predictor
from mnistnet.metrics.intervals import mcnemar_exact, paired_difference
from mnistnet.provenance import Changes, changes_since
from mnistnet.registry.registry import Log, naming, open_registry
from mnistnet.registry.release import Accuracy
from mnistnet.registry.signature import check_signature

if TYPE_CHECKING:
    from pathlib import Path

    from mnistnet.metrics.intervals import McNemar, PairedDifference
    from mnistnet.provenance import Basis
    from mnistnet.registry.release import Release, State
    from mnistnet.registry.signature import Signer


@dataclass(frozen=True)
class Score:
    """One release's accuracy on the test images, and its bundle's size."""

    release: Release
    accuracy: Accuracy
    size_bytes: int


@dataclass(frozen=True)
class Comparison:
    """Two releases on the same test images: B's accuracy minus A's, and McNemar's test."""

    a: Score
    b: Score
    difference: PairedDifference
    test: McNemar


def history(*, remote: str = "origin", branch: str = "models") -> State:
    """Read what was published, without fetching the bundles. Raises RegistryError."""
    with open_registry(remote, branch) as registry:
        return registry.read()


def champion_commit(*, remote: str = "origin", branch: str = "models") -> str:
    """Return the champion's commit, or an empty text; nothing is fetched. Raises RegistryError."""
    with open_registry(remote, branch) as registry:
        return registry.head()


def pull(
    version: int | None,
    directory: Path,
    *,
    remote: str = "origin",
    branch: str = "models",
    signer: Signer | None = None,
) -> Release:
    """Write a version's bundle, or the champion's, to a folder, whole and verified or not at all.

    A bundle that lies there is replaced. `signer` is who must have signed the version.

    Raises:
        MnistNetError: see open_registry, Registry.find, Registry.extract, replace_bundle and, with
            a signer, check_signature.
    """
    with replace_bundle(directory) as temporary, open_registry(remote, branch) as registry:
        release = registry.find(registry.read(), version)
        bundle = registry.extract(release)
        if signer:
            with naming(bundle, release):
                check_signature(bundle, signer)
        for file in bundle.iterdir():
            write_bytes(temporary / file.name, file.read_bytes())
        return release


def changed_since_champion(
    training: Basis, export: Basis, *, remote: str = "origin", branch: str = "models"
) -> tuple[str, Changes]:
    """List what differs from what the champion was trained and exported from.

    Returns:
        The champion's version, or an empty text where nothing is published yet; and what differs.

    Raises:
        RegistryError: the remote cannot be read, or the champion's bundle fails verification.
    """
    with open_registry(remote, branch) as registry:
        champion = registry.read().champion
        if champion is None:
            return "", Changes([f"nothing is published yet on branch {branch}"], [])
        manifest = read_manifest(registry.extract(champion))
        return str(champion), changes_since(manifest.origin, manifest.export, training, export)


def diff(
    version_a: int,
    version_b: int,
    *,
    remote: str = "origin",
    branch: str = "models",
    data: Path | None = None,
    log: Log = lambda _: None,
) -> Comparison:
    """Compare two versions on the same test images: B with A.

    Raises:
        RegistryError: there is no such version, a bundle fails verification, or the remote cannot
            be read.
        DataError: the data set is damaged.
    """
    with open_registry(remote, branch, log) as registry:
        state = registry.read()
        releases = [registry.find(state, version) for version in (version_a, version_b)]
        test = datasets.load(data).test
        correct, scores = [], []
        for release in releases:
            predictor = Predictor(registry.extract(release))
            log(f"evaluating {release} on {len(test):,} test images")
            correct.append(predictor.classify(test.images).argmax(1) == test.labels)
            accuracy = Accuracy(int(correct[-1].sum()), len(test), "test")
            size_bytes = sum(file.size_bytes for file in predictor.manifest.files.values())
            scores.append(Score(release, accuracy, size_bytes))
    return Comparison(scores[0], scores[1], paired_difference(*correct), mcnemar_exact(*correct))
