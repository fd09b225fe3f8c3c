"""`mnistnet history`, `pull [vN] -o DIR`, `diff vA vB`, `fingerprint --against-champion`: reading.

    history(remote="origin").champion                # a Release
    pull(None, Path("bundle"))                       # the champion's bundle
    changed_since_champion(basis)         # is there anything to train?
    diff(3, 4).difference                            # on the same test images

`remote` is a remote's name in the clone that one is in, or a URL or path; `branch` the registry's.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from mnistnet import data as datasets
from mnistnet.bundle.folder import replace_bundle
from mnistnet.bundle.manifest import read_manifest
from mnistnet.errors import BundleError
from mnistnet.inference import Predictor
from mnistnet.metrics.intervals import mcnemar_exact, paired_difference, wilson_interval
from mnistnet.provenance import differences
from mnistnet.registry.registry import open_registry
from mnistnet.registry.signature import check_signature

if TYPE_CHECKING:
    from collections.abc import Callable

    from mnistnet.metrics.intervals import Interval, McNemar, PairedDifference
    from mnistnet.provenance import Basis
    from mnistnet.registry.registry import Registry
    from mnistnet.registry.release import Release
    from mnistnet.registry.signature import Identity
    from mnistnet.registry.state import State


@dataclass(frozen=True)
class Scored:
    """One side of a comparison."""

    release: Release
    correct: int
    interval: Interval
    size_bytes: int


@dataclass(frozen=True)
class Comparison:
    """Two releases on the same n test images: B's accuracy minus A's, and whether that is luck."""

    a: Scored
    b: Scored
    n: int
    difference: PairedDifference
    test: McNemar


def history(*, remote: str = "origin", branch: str = "models") -> State:
    """Read what was published, without fetching the bundles. Raises RegistryError."""
    with open_registry(remote, branch) as registry:
        return registry.read()


def pull(
    version: int | None,
    directory: Path,
    *,
    remote: str = "origin",
    branch: str = "models",
    signer: Path | Identity | None = None,
) -> Release:
    """Write a version's bundle to a folder, whole and verified or not at all.

    Args:
        version: None takes the champion.
        directory: where to; a bundle that lies there is replaced.
        remote: see above.
        branch: see above.
        signer: the public key of who is to have signed it, or an identity.

    Raises:
        RegistryError: there is no such version, or the remote cannot be read.
        BundleError: its bundle fails verification, or is not signed by that signer.
        FileError: something else lies in the folder, it cannot be written, or the key not be used.
        MissingError: a signer was named, and the extra `deliver` is not installed.
        SigningError: what an identity's signature is checked by cannot be fetched.
    """
    with replace_bundle(directory) as temporary, open_registry(remote, branch) as registry:
        release = registry.find(registry.read(), version)
        _extract(registry, release, temporary, signer)
    return release


def changed_since_champion(
    basis: Basis, *, remote: str = "origin", branch: str = "models"
) -> tuple[str, list[str]]:
    """Say what differs from what the champion was trained from.

    Returns:
        The champion's version, or an empty text where nothing is published yet; and what differs,
        a line each: none where training again would start from the same.

    Raises:
        RegistryError: the remote cannot be read.
        BundleError: the champion's bundle fails verification.
    """
    with open_registry(remote, branch) as registry, TemporaryDirectory() as folder:
        champion = registry.read().champion
        if champion is None:
            return "", [f"nothing is published yet on branch {branch}"]
        bundle = _extract(registry, champion, Path(folder) / champion.name)
        return champion.name, differences(read_manifest(bundle).origin, basis)


def diff(
    version_a: int,
    version_b: int,
    *,
    remote: str = "origin",
    branch: str = "models",
    data: Path | None = None,
    say: Callable[[str], object] = lambda _: None,
) -> Comparison:
    """Compare two versions on the same test images.

    Args:
        version_a: what is compared with.
        version_b: what is compared.
        remote: see above.
        branch: see above.
        data: the data set; None searches the usual places.
        say: told in a line what is being done.

    Raises:
        RegistryError: there is no such version, or the remote cannot be read.
        BundleError: a bundle fails verification.
        DataError: the data set is damaged.
    """
    with open_registry(remote, branch) as registry, TemporaryDirectory() as folder:
        say(f"fetching {branch} from {registry.named}")
        state = registry.read()
        releases = [registry.find(state, version) for version in (version_a, version_b)]
        test = datasets.load(data).test
        answers, scores = [], []
        for release in releases:
            bundle = Path(folder) / release.name
            if not bundle.exists():
                _extract(registry, release, bundle)
            say(f"reading {len(test):,} test images with {release.name}")
            predictor = Predictor(bundle)
            answers.append(predictor.classify(test.images).argmax(1) == test.labels)
            correct = int(answers[-1].sum())
            size_bytes = sum(file.size_bytes for file in predictor.manifest.files.values())
            interval = wilson_interval(correct, len(test))
            scores.append(Scored(release, correct, interval, size_bytes))
    difference, test_of_luck = paired_difference(*answers), mcnemar_exact(*answers)
    return Comparison(scores[0], scores[1], len(test), difference, test_of_luck)


def _extract(
    registry: Registry, release: Release, folder: Path, signer: Path | Identity | None = None
) -> Path:
    """Write a release's bundle, verified, to a folder that will be gone when a message is read."""
    try:
        registry.extract(release, folder)
        if signer:
            check_signature(folder, signer)
    except BundleError as error:
        raise BundleError(str(error).replace(str(folder), release.name)) from error
    return folder
