"""`mnistnet publish BUNDLE` and `mnistnet rollback vN`: write to the registry.

    done = publish(Path("bundle"), gate=judge)
    done.outcome, done.version                       # "published", 7

Nothing in the clone that this is run in is touched. Killed at any moment, the remote holds the
release or does not; calling again does what is left to do.
"""

from __future__ import annotations

import secrets
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mnistnet.bundle.manifest import EXTRA_FILES, check_files
from mnistnet.bundle.verify import verify
from mnistnet.errors import BundleError, RegistryError
from mnistnet.files import entries
from mnistnet.gate.checks import Verdict
from mnistnet.registry.git import GitError
from mnistnet.registry.registry import MAX_RELEASE_BYTES, Log, naming, open_registry
from mnistnet.registry.release import Accuracy, describe

if TYPE_CHECKING:
    from pathlib import Path

    from mnistnet.registry.registry import Registry
    from mnistnet.registry.release import Record, ReleasedBundle, State

RACES = 20  # each that is lost is a release that somebody else published
PUSHES = 3  # of the same commit, where the remote refuses it though nobody was faster
LONGEST_PAUSE_S = 5.0

# Decides on a candidate: gate(candidate, champion, best=best), None for a bundle that is not there.
Gate = Callable[..., Verdict]


@dataclass(frozen=True)
class Publication:
    """How a publication, or a rollback, ended."""

    # "published"; "unchanged", where these bytes are the champion already; "refused", by the gate;
    # or "possible", after a dry run
    outcome: str
    version: int | None  # that was given or, after a dry run, would be given
    replaces: int | None  # the version that was champion
    verdict: Verdict | None = None  # the gate's, where it was asked


def publish(
    bundle: Path,
    *,
    gate: Gate,
    remote: str = "origin",
    branch: str = "models",
    reinstate: bool = False,
    dry_run: bool = False,
    log: Log = lambda _: None,
) -> Publication:
    """Make a bundle the champion, if it passes the gate, which compares it with the current one.

    `reinstate` publishes it even if a rollback withdrew it; `dry_run` does all but publish.

    Raises:
        BundleError: the bundle, or the champion's, fails verification.
        RegistryError: the remote cannot be read, or refuses the release for good; or a rollback
            withdrew this bundle or its model.
    """
    with open_registry(remote, branch, log, writes=not dry_run) as registry:
        candidate = _copy(bundle, registry.scratch / "candidate")
        subject = describe(candidate)
        for race in range(RACES):
            state = registry.read()
            if champion := state.champion_with(subject):
                return Publication("unchanged", champion.version, champion.version)
            if not reinstate:
                _check_not_withdrawn(bundle, subject, state)
            log(f"evaluating {bundle} against {state.champion or 'no champion'}")
            verdict = _decide(gate, candidate, registry, state)
            accuracy = Accuracy(verdict.correct, verdict.n, "test") if verdict.n else None
            record = state.next_record(subject, verdict.summary(), accuracy)
            if not verdict.passed:
                return Publication("refused", None, record.replaced, verdict)
            if dry_run:
                return Publication("possible", record.version, record.replaced, verdict)
            if _push(registry, state, record, registry.write_tree(candidate), verdict.table()):
                return Publication("published", record.version, record.replaced, verdict)
            log("somebody else was faster: once more, with the new champion")
            _pause(race)
        raise RegistryError(f"{registry.shown}: {RACES} others published meanwhile; publish again")


def rollback(
    version: int,
    *,
    remote: str = "origin",
    branch: str = "models",
    dry_run: bool = False,
    log: Log = lambda _: None,
) -> Publication:
    """Publish the bundle of an earlier version again, and withdraw the models that came after it.

    No gate is asked: it is a person who decides. What was published stays in the history.

    Raises:
        RegistryError: there is no such version; somebody published meanwhile; or the remote
            refuses.
        BundleError: that version's bundle fails verification.
    """
    with open_registry(remote, branch, log, writes=not dry_run) as registry:
        state = registry.read()
        target = registry.find(state, version)
        if champion := state.champion_with(target.bundle):
            return Publication("unchanged", champion.version, champion.version)
        registry.extract(target)
        record = state.next_rollback(target)
        if dry_run:
            return Publication("possible", record.version, record.replaced)
        if not _push(registry, state, record, target.tree, ""):
            raise RegistryError(
                f"{registry.shown}: somebody published meanwhile, so nothing was rolled back; look"
                " at mnistnet history, and roll back again"
            )
        return Publication("published", record.version, record.replaced)


def _copy(bundle: Path, folder: Path) -> Path:
    """Copy a bundle to where nobody changes it meanwhile, and verify the copy.

    Raises:
        BundleError: it fails verification, or is too large with what lies next to it.
    """
    check_files(bundle)
    folder.mkdir()
    for file in entries(bundle):
        shutil.copyfile(file, folder / file.name, follow_symlinks=False)
    with naming(folder, bundle):
        verify(folder)
    size_bytes = sum(file.stat().st_size for file in folder.iterdir())
    if size_bytes > MAX_RELEASE_BYTES:
        raise BundleError(
            f"{bundle}: has {size_bytes:,} bytes, and a release at most {MAX_RELEASE_BYTES:,};"
            f" remove what lies next to the bundle ({', '.join(EXTRA_FILES)})"
        )
    return folder


def _check_not_withdrawn(bundle: Path, subject: ReleasedBundle, state: State) -> None:
    """Refuse a bundle that a rollback withdrew. Raises RegistryError."""
    if release := state.withdrawn_by(subject):
        raise RegistryError(
            f"{bundle}: {release} withdrew this model by a rollback; train another one, or"
            " publish it all the same with --reinstate"
        )


def _decide(gate: Gate, candidate: Path, registry: Registry, state: State) -> Verdict:
    """Ask the gate about a candidate, the champion, and the best of all releases."""
    champion, best = (
        registry.extract(release) if release else None for release in (state.champion, state.best())
    )
    return gate(candidate, champion, best=best if best != champion else None)


def _push(registry: Registry, state: State, record: Record, tree: str, table: str) -> bool:
    """Commit and push the release that follows on a state.

    Returns:
        Whether it is published. If not, somebody else changed the registry first.

    Raises:
        RegistryError: the remote refuses though nothing there has changed.
    """
    commit = registry.commit(tree, record, table)
    registry.log(f"pushing {record}")
    for attempt in range(PUSHES):
        try:
            registry.push(commit, record)
            return True
        except GitError as error:
            reason = error.reason
        # Refused because somebody else is in the midst of pushing? Then that shows in a moment.
        _pause(attempt)
        now = registry.read()
        if any(release.commit == commit for release in now.releases):
            return True  # only the answer got lost
        if now != state:
            return False
    raise RegistryError(
        f"{registry.shown}: refuses {record} ({reason}); nothing was published: see whether you"
        f" may push to its branch {registry.branch} and create tags"
    )


def _pause(attempt: int) -> None:
    """Wait for a random time, longer with each attempt, so that two do not stay in step."""
    longest_s = min(LONGEST_PAUSE_S, 0.2 * 2**attempt)
    time.sleep(secrets.SystemRandom().uniform(0, longest_s))
