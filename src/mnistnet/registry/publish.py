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
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mnistnet.bundle.manifest import EXTRA_FILES, FILES, MANIFEST, check_files
from mnistnet.bundle.verify import verify
from mnistnet.errors import BundleError, RegistryError
from mnistnet.gate.verdict import Verdict
from mnistnet.registry.git import GitError, scratch_folder
from mnistnet.registry.registry import MAX_RELEASE_BYTES, naming, open_registry
from mnistnet.registry.release import describe

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from mnistnet.registry.registry import Registry
    from mnistnet.registry.release import Record, Release, State

RACES = 20  # each that is lost is a release that somebody else published
PUSHES = 3  # of the same commit, where the remote refuses it though nobody was faster
LONGEST_PAUSE_S = 5.0

# Decides on a candidate: gate(candidate, champion, best=best), None for a bundle that is not there.
Gate = Callable[..., Verdict]
Log = Callable[[str], object]  # is called with a line on what is done next


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
    """Make a bundle the champion, if it passes the gate next to the champion of now.

    `reinstate` publishes it even if a rollback withdrew it; `dry_run` does all but publish.

    Raises:
        BundleError: the bundle, or the champion's, fails verification.
        RegistryError: the remote cannot be read, or refuses the release for good; or a rollback
            withdrew this bundle or its model.
    """
    with _workshop(remote, branch, log, writes=not dry_run) as (registry, folder):
        job = _Publishing(registry, folder, _copy(bundle, folder / "candidate"), gate)
        for race in range(RACES):
            state = registry.read()
            if done := job.ended(state):
                return done
            if not reinstate:
                job.check_not_withdrawn(bundle, state)
            log(f"evaluating {bundle} against {state.champion or 'no champion'}")
            if not job.decide(state).passed or dry_run:
                return job.without_push(state)
            log(f"pushing v{state.next_version}")
            if done := job.push(state):
                return done
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
    with _workshop(remote, branch, log, writes=not dry_run) as (registry, folder):
        state = registry.read()
        target = registry.find(state, version)
        if champion := state.champion_with(target.bundle):
            return Publication("unchanged", champion.version, champion.version)
        registry.extract(target, folder / str(target))
        record = state.next_rollback(target)
        if dry_run:
            return Publication("possible", record.version, record.replaced)
        log(f"pushing {record}")
        commit = registry.commit(target.tree, record, "")
        if not _push(registry, commit, record, state) and not registry.read().find({commit}):
            raise RegistryError(
                f"{registry.shown}: somebody published meanwhile, so nothing was rolled back; look"
                " at mnistnet history, and roll back again"
            )
        return Publication("published", record.version, record.replaced)


@dataclass
class _Publishing:
    """The steps of one publication, and what is known between them."""

    registry: Registry
    folder: Path
    candidate: Path
    gate: Gate

    def __post_init__(self) -> None:
        self.subject = describe(self.candidate)
        self.verdict: Verdict | None = None
        self.pushed: set[str] = set()  # commits that perhaps arrived

    def ended(self, state: State) -> Publication | None:
        """Return how it ended, if one of our commits is published, or the same bytes are champion.

        A push may have been done though its answer got lost.
        """
        if ours := state.find(self.pushed):
            return Publication("published", ours.version, ours.replaced, self.verdict)
        if champion := state.champion_with(self.subject):
            return Publication("unchanged", champion.version, champion.version)
        return None

    def check_not_withdrawn(self, bundle: Path, state: State) -> None:
        """Refuse a bundle that a rollback withdrew. Raises RegistryError."""
        if release := state.withdrawn_by(self.subject):
            raise RegistryError(
                f"{bundle}: {release} withdrew this model by a rollback; train another one, or"
                " publish it all the same with --reinstate"
            )

    def decide(self, state: State) -> Verdict:
        """Ask the gate about the candidate, the champion, and the best of all releases."""
        champion, best = (self._extract(release) for release in (state.champion, state.best()))
        self.verdict = self.gate(self.candidate, champion, best=best if best != champion else None)
        return self.verdict

    def _extract(self, release: Release | None) -> Path | None:
        if release is None:
            return None
        folder = self.folder / str(release)
        return folder if folder.exists() else self.registry.extract(release, folder)

    def without_push(self, state: State) -> Publication:
        """Return how it ended, where the gate refused the bundle, or this is a dry run."""
        replaces = state.champion.version if state.champion else None
        if self.verdict and self.verdict.passed:
            return Publication("possible", state.next_version, replaces, self.verdict)
        return Publication("refused", None, replaces, self.verdict)

    def push(self, state: State) -> Publication | None:
        """Commit the candidate, and push it; None where the registry has changed meanwhile."""
        assert self.verdict
        record = state.next_record(self.subject, self.verdict.summary())
        tree = self.registry.write_tree(self.candidate)
        commit = self.registry.commit(tree, record, self.verdict.table(markdown=False))
        self.pushed.add(commit)
        if not _push(self.registry, commit, record, state):
            return None
        return Publication("published", record.version, record.replaced, self.verdict)


@contextmanager
def _workshop(
    remote: str, branch: str, log: Log, *, writes: bool
) -> Iterator[tuple[Registry, Path]]:
    """Open a registry, and a temporary folder for bundles."""
    with open_registry(remote, branch) as registry, scratch_folder() as folder:
        if writes:
            registry.check_identity()
        log(f"fetching {branch} from {registry.shown}")
        yield registry, folder


def _copy(bundle: Path, folder: Path) -> Path:
    """Copy a bundle to where nobody changes it meanwhile, and verify the copy.

    Raises:
        BundleError: it fails verification, or is too large with what lies next to it.
    """
    check_files(bundle)
    folder.mkdir()
    for name in (MANIFEST, *FILES, *EXTRA_FILES):
        if (bundle / name).exists():
            shutil.copyfile(bundle / name, folder / name, follow_symlinks=False)
    with naming(folder, bundle):
        verify(folder)
    size_bytes = sum(file.stat().st_size for file in folder.iterdir())
    if size_bytes > MAX_RELEASE_BYTES:
        raise BundleError(
            f"{bundle}: has {size_bytes:,} bytes, and a release at most {MAX_RELEASE_BYTES:,};"
            f" remove what lies next to the bundle ({', '.join(EXTRA_FILES)})"
        )
    return folder


def _push(registry: Registry, commit: str, record: Record, state: State) -> bool:
    """Push a release.

    Returns:
        Whether it is known to be published. If not, the registry no longer is what it was when the
        release was made: by somebody else's release, or by this one, whose answer got lost.

    Raises:
        RegistryError: the remote refuses though nothing there has changed.
    """
    for attempt in range(PUSHES):
        try:
            registry.push(commit, record)
            return True
        except GitError as error:
            reason = error.reason
        # Refused because somebody else is in the midst of pushing? Then that shows in a moment.
        _pause(attempt)
        if registry.read() != state:
            return False
    raise RegistryError(
        f"{registry.shown}: refuses {record} ({reason}); nothing was published: see whether you"
        f" may push to its branch {registry.branch} and create tags"
    )


def _pause(attempt: int) -> None:
    """Wait for a random time, longer with each attempt, so that two do not stay in step."""
    longest_s = min(LONGEST_PAUSE_S, 0.2 * 2**attempt)
    time.sleep(secrets.SystemRandom().uniform(0, longest_s))
