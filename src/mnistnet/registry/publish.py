"""`mnistnet publish BUNDLE` and `mnistnet rollback vN`: write to the registry.

    done = publish(Path("bundle"), gate=judge)
    done.outcome, done.version                       # "published", 7

Nothing in the clone that this is run in is touched. Killed at any moment, the remote holds the
release or does not; calling again does what is left to do.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mnistnet.bundle.manifest import EXTRA_FILES, check_files
from mnistnet.bundle.verify import verify
from mnistnet.errors import BundleError, RegistryError
from mnistnet.files import entries
from mnistnet.gate.checks import Verdict
from mnistnet.registry.git import LONGEST_PAUSE_S, GitError, pause, precedes
from mnistnet.registry.registry import MAX_RELEASE_BYTES, DamagedError, Log, naming, open_registry
from mnistnet.registry.release import Accuracy, describe
from mnistnet.registry.repository import UnreachableError

if TYPE_CHECKING:
    from pathlib import Path

    from mnistnet.registry.registry import Registry
    from mnistnet.registry.release import Record, Release, ReleasedBundle, State

RACES = 20  # each that is lost is a release that somebody else published
PUSHES = 3  # of the same commit, where it fails though nobody was faster
PUSHING_S = 300  # for all of these together, the hooks of the remote included
SHORT_PAUSE_S = 0.2  # at first, and twice as long each time

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
    ignore_damaged: bool = False,
    dry_run: bool = False,
    log: Log = lambda _: None,
) -> Publication:
    """Make a bundle the champion, if it passes the gate, which compares it with the current one.

    `reinstate` publishes it even if a rollback withdrew it, or something newer replaced it;
    `ignore_damaged` without a comparison with the champion, or the best release, if that is
    damaged; `dry_run` does all but publish.

    Raises:
        BundleError: the bundle fails verification.
        RegistryError: the remote cannot be read, or refuses the release for good; or what the
            options would ignore.
    """
    with open_registry(remote, branch, log, writes=not dry_run) as registry:
        candidate = _copy(bundle, registry.scratch / "candidate")
        subject = describe(candidate)
        for race in range(RACES):
            state = registry.read()
            champion = state.champion
            if champion and champion is state.released_with(subject):
                if not ignore_damaged or _extract(registry, champion, ignore_damaged=True):
                    return Publication("unchanged", champion.version, champion.version)
            elif not reinstate:
                _check_new(bundle, subject, state)
            log(f"evaluating {bundle} against {champion or 'no champion'}")
            verdict = _decide(gate, candidate, registry, state, ignore_damaged=ignore_damaged)
            accuracy = Accuracy(verdict.correct, verdict.n, "test") if verdict.n else None
            record = state.next_record(subject, verdict.summary(), accuracy)
            if not verdict.passed:
                return Publication("refused", None, record.replaced, verdict)
            if dry_run:
                return Publication("possible", record.version, record.replaced, verdict)
            if _push(registry, state, record, registry.write_tree(candidate), verdict.table()):
                return Publication("published", record.version, record.replaced, verdict)
            log("somebody else was faster: once more, with the new champion")
            pause(SHORT_PAUSE_S * 2**race)
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
        RegistryError: there is no such version; its bundle fails verification; somebody published
            meanwhile; or the remote refuses.
    """
    with open_registry(remote, branch, log, writes=not dry_run) as registry:
        state = registry.read()
        target = registry.find(state, version)
        champion = state.champion
        if champion and champion is state.released_with(target.bundle):
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


def _check_new(bundle: Path, subject: ReleasedBundle, state: State) -> None:
    """Refuse a bundle that a rollback withdrew, or newer work replaced. Raises RegistryError."""
    anyway = "publish it all the same with --reinstate"
    if release := state.withdrawn_by(subject):
        raise RegistryError(
            f"{bundle}: {release} withdrew this model by a rollback; train another one, or {anyway}"
        )
    if release := state.released_with(subject):
        raise RegistryError(
            f"{bundle}: was published as {release} already, and the champion is {state.champion}"
            f" now; {anyway}"
        )
    champion = state.champion
    if subject.source and champion and champion.bundle.source:
        commit, newer = subject.source.split()[0], champion.bundle.source.split()[0]
        if precedes(commit, newer):
            raise RegistryError(
                f"{bundle}: was made by commit {commit:.12}, and the champion {champion} by"
                f" {newer:.12}, which came later; {anyway}"
            )


def _extract(registry: Registry, release: Release | None, *, ignore_damaged: bool) -> Path | None:
    """Return a release's bundle; None where there is none, or it is damaged and that is ignored.

    Raises:
        DamagedError: it is damaged, and that is not ignored.
    """
    try:
        return registry.extract(release) if release else None
    except DamagedError:
        if not ignore_damaged:
            raise
        registry.log(f"{release} is damaged, and is not compared with")
        return None


def _decide(
    gate: Gate, candidate: Path, registry: Registry, state: State, *, ignore_damaged: bool
) -> Verdict:
    """Ask the gate about a candidate, the champion, and the best of all releases."""
    releases = state.champion, state.best()
    champion, best = (
        _extract(registry, release, ignore_damaged=ignore_damaged) for release in releases
    )
    return gate(candidate, champion, best=best if best != champion else None)


def _push(registry: Registry, state: State, record: Record, tree: str, table: str) -> bool:
    """Commit and push the release that follows on a state.

    Returns:
        Whether it is published. If not, somebody else changed the registry first.

    Raises:
        RegistryError: the remote refuses though nothing there has changed, or does not answer.
    """
    commit = registry.commit(tree, record, table)
    registry.log(f"pushing {record}")
    end, failures = time.monotonic() + PUSHING_S, list[GitError]()
    while len(failures) < PUSHES and (left_s := end - time.monotonic()) > 0:
        try:
            registry.push(commit, record, timeout_s=left_s)
            return True
        except GitError as error:
            failures.append(error)
        # Refused because somebody else is in the midst of pushing? Then that shows in a moment.
        busy = failures[-1].busy
        pause(LONGEST_PAUSE_S if busy else SHORT_PAUSE_S * 2 ** len(failures))
        with suppress(UnreachableError):
            now = registry.read()
            if any(release.commit == commit for release in now.releases):
                return True  # only the answer got lost
            if now != state:
                return False
    raise _failure(registry, record, failures)


def _failure(registry: Registry, record: Record, failures: list[GitError]) -> RegistryError:
    """Make the error for pushes that failed: it says of the release only what is known."""
    shown = registry.shown
    for failure in failures:
        if failure.unknown:
            return RegistryError(
                f"{shown}: did not answer whether it takes {record} ({failure.reason}), which may"
                " appear there yet; see mnistnet history in some minutes, and if it is not there,"
                " try again"
            )
    failure = failures[-1]
    if failure.busy:
        return RegistryError(
            f"{shown}: is busy, or cuts connections ({failure.reason}); {record} was not"
            " published: try again later"
        )
    return RegistryError(
        f"{shown}: refuses {record} ({failure.reason}); nothing was published: see whether you"
        f" may push to its branch {registry.branch} and create tags"
    )
