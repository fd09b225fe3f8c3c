"""`mnistnet publish BUNDLE` and `mnistnet rollback vN`: write to the registry.

    done = publish(Path("bundle"), remote="origin", branch="models", gate=gate)
    done.outcome, done.release                       # "published", v7

Nothing in the clone that this is run in is touched. Killed anywhere, the remote holds the release
or does not; calling again does what is left to do.
"""

from __future__ import annotations

import secrets
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mnistnet.errors import RegistryError
from mnistnet.registry.git import GitFailed
from mnistnet.registry.registry import open_registry, snapshot
from mnistnet.registry.release import Notes, facts_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mnistnet.registry.registry import Gate, Registry, Verdict
    from mnistnet.registry.release import Facts, Release
    from mnistnet.registry.state import State

RACES = 20  # each that is lost is a release that somebody else published
PUSHES = 3  # of the same commit, where the remote refuses it though nobody was faster
LONGEST_PAUSE_S = 5.0


@dataclass(frozen=True)
class Publication:
    """How a publication, or a rollback, ended.

    Attributes:
        outcome: "published"; "unchanged", where these bytes are the champion already; "refused",
            by the gate; or "possible", where it was only to be tried.
        version: the number that was given or, where it was only tried, would be given.
        replaces: what was champion; None where this is the first release.
        verdict: the gate's; None where it was not asked.
    """

    outcome: str
    version: int | None
    replaces: Release | None
    verdict: Verdict | None = None


def publish(
    bundle: Path,
    *,
    remote: str = "origin",
    branch: str = "models",
    gate: Gate,
    reinstate: bool = False,
    dry_run: bool = False,
    say: Callable[[str], object] = lambda _: None,
) -> Publication:
    """Make a bundle the champion, if the gate lets it pass.

    Args:
        bundle: its folder.
        remote: a remote's name in the clone that one is in, or a URL or path.
        branch: the registry's branch; the first publication creates it.
        gate: judges the bundle beside the champion, once more if that changes meanwhile.
        reinstate: publish it even if a rollback withdrew it.
        dry_run: do all but publish.
        say: told in a line what is being done.

    Raises:
        BundleError: the bundle, or the champion's, fails verification.
        RegistryError: the remote cannot be read, or refuses the release for good; or a rollback
            withdrew this bundle or its model.
    """
    with _workshop(remote, branch) as (registry, folder):
        if not dry_run:
            registry.check_identity()
        candidate = snapshot(bundle, folder / "candidate")
        facts, commits, verdict = facts_of(candidate), set[str](), None
        say(f"fetching {branch} from {registry.named}")
        state = registry.read()
        for race in range(RACES):
            if done := _done_already(state, facts, commits, verdict):
                return done
            if not reinstate:
                _check_not_withdrawn(bundle, facts, state)
            version, champion = state.next_version, state.champion
            say(f"judging {bundle} beside {champion.name if champion else 'nothing'}")
            verdict = _judge(candidate, gate, registry, state, folder)
            if not verdict.passed:
                return Publication("refused", None, champion, verdict)
            if dry_run:
                return Publication("possible", version, champion, verdict)
            notes = Notes(version, facts, verdict.summary(), _replaced(state))
            table = verdict.table(markdown=False)
            commit = registry.commit(candidate, notes, table, parent=state.head)
            commits.add(commit)
            say(f"pushing v{version}")
            moved = _push(registry, commit, version, state)
            if moved is None:
                return Publication("published", version, champion, verdict)
            state = moved
            say("somebody else was faster: once more, with the new champion")
            _pause(race)
    raise RegistryError(
        f"{registry.named}: {RACES} others published while we tried, and nothing of ours was lost;"
        " publish again"
    )


def rollback(
    version: int,
    *,
    remote: str = "origin",
    branch: str = "models",
    dry_run: bool = False,
    say: Callable[[str], object] = lambda _: None,
) -> Publication:
    """Publish the bundle of an earlier version again, and withdraw the models that came after it.

    No gate is asked: it is a person who decides. What was published stays in the history.

    Raises:
        RegistryError: there is no such version; somebody published meanwhile; or the remote
            refuses.
        BundleError: that version's bundle fails verification.
    """
    with _workshop(remote, branch) as (registry, folder):
        if not dry_run:
            registry.check_identity()
        say(f"fetching {branch} from {registry.named}")
        state = registry.read()
        target, champion = registry.find(state, version), state.champion
        if champion and champion.facts.bundle_sha256 == target.facts.bundle_sha256:
            return Publication("unchanged", champion.notes.version, champion)
        registry.extract(target, folder / target.name)
        notes = Notes(
            version=state.next_version,
            facts=target.facts,
            verdict=f"rollback to {target.name}",
            replaces=_replaced(state),
            rollback_to=version,
            withdraws=_withdrawn_by_going_back(state, target),
        )
        if dry_run:
            return Publication("possible", notes.version, champion)
        commit = registry.commit_tree(target.tree, notes, "", parent=state.head)
        say(f"pushing v{notes.version}")
        moved = _push(registry, commit, notes.version, state)
        if moved and commit not in {release.commit for release in moved.releases}:
            raise RegistryError(
                f"{registry.named}: somebody published meanwhile, so nothing was rolled back; look"
                " at mnistnet history, and roll back again"
            )
        return Publication("published", notes.version, champion)


@contextmanager
def _workshop(remote: str, branch: str) -> Iterator[tuple[Registry, Path]]:
    """Open a registry, and a folder to put bundles in."""
    with (
        open_registry(remote, branch) as registry,
        tempfile.TemporaryDirectory(prefix="mnistnet-", ignore_cleanup_errors=True) as folder,
    ):
        yield registry, Path(folder)


def _done_already(
    state: State, facts: Facts, commits: set[str], verdict: Verdict | None
) -> Publication | None:
    """Say how it ended, if one of our commits is there after all, or the same bytes are champion.

    A push may have been done though its answer got lost.
    """
    for earlier, release in zip((None, *state.releases), state.releases, strict=False):
        if release.commit in commits:
            return Publication("published", release.notes.version, earlier, verdict)
    champion = state.champion
    if champion and champion.facts.bundle_sha256 == facts.bundle_sha256:
        return Publication("unchanged", champion.notes.version, champion)
    return None


def _check_not_withdrawn(bundle: Path, facts: Facts, state: State) -> None:
    if release := state.withdrawn_by(facts):
        raise RegistryError(
            f"{bundle}: {release.name} withdrew this model by a rollback; train another one, or"
            " publish it all the same with --reinstate"
        )


def _judge(candidate: Path, gate: Gate, registry: Registry, state: State, folder: Path) -> Verdict:
    """Have the candidate judged beside the champion and the best of all."""
    champion, best = (
        folder / release.name if release else None for release in (state.champion, state.best())
    )
    for release in (state.champion, state.best()):
        if release and not (folder / release.name).exists():
            registry.extract(release, folder / release.name)
    return gate(candidate, champion, best=best if best != champion else None)


def _replaced(state: State) -> tuple[int, str] | None:
    champion = state.champion
    return (champion.notes.version, champion.commit) if champion else None


def _withdrawn_by_going_back(state: State, target: Release) -> tuple[tuple[int, str], ...]:
    """List what came after the target: each bundle and each model, with its last version."""
    later = state.releases[state.releases.index(target) + 1 :]
    versions = {
        digest: release.notes.version
        for release in later
        for digest in (release.facts.bundle_sha256, release.facts.model_sha256)
        if digest not in (target.facts.bundle_sha256, target.facts.model_sha256)
    }
    return tuple((version, digest) for digest, version in versions.items())


def _push(registry: Registry, commit: str, version: int, state: State) -> State | None:
    """Push a release.

    Returns:
        None if it is published; else what the registry holds now, which is no more what it held
        when the release was made.

    Raises:
        RegistryError: the remote refuses though nothing there has changed.
    """
    for turn in range(PUSHES):
        try:
            registry.push(commit, version, state.head)
            return None
        except GitFailed as error:
            reason = error.reason
        # Refused because somebody else is in the middle of pushing? Then that shows in a moment.
        _pause(turn)
        now = registry.read()
        if now != state:
            return now
    raise RegistryError(
        f"{registry.named}: refuses v{version} ({reason}); nothing was published: see whether you"
        f" may push to its branch {registry.branch} and create tags"
    )


def _pause(turn: int) -> None:
    """Wait for a random time, for longer every turn, so that two do not stay in step."""
    longest_s = min(LONGEST_PAUSE_S, 0.2 * 2**turn)
    time.sleep(secrets.SystemRandom().uniform(0, longest_s))
