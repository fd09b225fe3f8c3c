"""The registry: a git branch whose every commit is one release, and whose head is the champion.

    with open_registry("origin", "models") as registry:
        state = registry.read()                          # the releases, and who is champion
        registry.extract(state.champion, folder)         # its bundle, verified
        commit = registry.commit(bundle, notes, table, parent=state.head)
        registry.push(commit, notes.version, state.head) # all of it or nothing

A push is a compare-and-swap: it succeeds only where branch and tags still are what was read.
"""

from __future__ import annotations

import re
import shutil
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

from mnistnet.bundle.manifest import BESIDE, FILES, MANIFEST, check_files
from mnistnet.bundle.verify import verify
from mnistnet.errors import BundleError, RegistryError
from mnistnet.files import write_error
from mnistnet.registry.git import GitFailed
from mnistnet.registry.release import (
    OBJECT_NAME,
    VERSION,
    Notes,
    Release,
    facts_of,
    message,
    parse_commit,
)
from mnistnet.registry.repository import private_repository
from mnistnet.registry.state import State

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from mnistnet.registry.repository import Repository

TAGS = "refs/tags/model/"
TAG = re.compile(rf"([a-z]+) ({OBJECT_NAME}) ({OBJECT_NAME})? {TAGS}{VERSION}")
ENTRY = re.compile(rf"100644 blob ({OBJECT_NAME})\t([A-Za-z.]{{1,32}})")
MAX_COMMIT_BYTES = 65_536
MAX_RELEASES = 100_000
MAX_TREE_BYTES = 4096  # ten entries take 500
MAX_RELEASE_BYTES = 1_000_000  # a bundle with all that lies beside it


class Verdict(Protocol):
    """What a gate says of a bundle."""

    @property
    def passed(self) -> bool:
        """Whether the bundle may ship."""

    def summary(self) -> str:
        """Say it in one line."""

    def table(self, *, markdown: bool = False) -> str:
        """Say it at length."""


class Gate(Protocol):
    """Judges a candidate beside the champion, and beside the best that was ever published."""

    def __call__(self, candidate: Path, champion: Path | None, *, best: Path | None) -> Verdict:
        """Judge bundles that lie in folders; None where there is no such bundle."""


class Registry:
    """The branch of a remote, seen through a private repository."""

    def __init__(self, repository: Repository, branch: str) -> None:
        self._git = repository
        self.branch = branch
        self.named = repository.named
        self._ref = f"refs/heads/{branch}"

    def read(self) -> State:
        """Fetch the branch and the tags as they are now.

        Raises:
            RegistryError: they cannot be fetched, or are not what we publish.
        """
        there = {line.split("\t")[-1] for line in self._listed()}
        old = self._git.run("for-each-ref", "--format=delete %(refname)")
        self._git.run("update-ref", "--stdin", given=old)
        wanted = [f"+{self._ref}:{self._ref}"] if self._ref in there else []
        if any(name.startswith(TAGS) for name in there):
            wanted.append(f"+{TAGS}*:{TAGS}*")
        if wanted:
            self._git.fetch(*wanted)
        state = State(self._releases() if self._ref in there else (), self._tags())
        self._check_numbers(state)
        return state

    def find(self, state: State, version: int | None) -> Release:
        """Find a release by its number, or the champion. Raises RegistryError: there is none."""
        release = state.champion if version is None else state.find(version)
        if release is None:
            wanted = "release" if version is None else f"v{version}"
            there = f"v1 to {state.champion.name}" if state.champion else "none yet"
            raise RegistryError(
                f"{self.named}: branch {self.branch} has no {wanted}; it has {there}: mnistnet"
                " history lists them"
            )
        return release

    def _listed(self) -> list[str]:
        listed = self._git.remote_refs(self._ref, f"{TAGS}*")
        return listed.decode(errors="replace").splitlines()

    def _releases(self) -> tuple[Release, ...]:
        """Read the branch, from its first commit to its head."""
        limit = f"--max-count={MAX_RELEASES}"
        listed = self._git.run("rev-list", "--first-parent", "--reverse", limit, self._ref)
        commits = listed.decode().split()
        contents = self._git.read_objects(
            commits, "commit", max_bytes=MAX_COMMIT_BYTES * len(commits)
        )
        where = f"{self.named}, branch {self.branch}"
        return tuple(parse_commit(*pair, where) for pair in zip(commits, contents, strict=True))

    def _check_numbers(self, state: State) -> None:
        """Compare each release's number with the one before it, and with its tag."""
        before = 0
        for release in state.releases:
            version, replaces = release.notes.version, release.notes.replaces
            if version <= before or (replaces and replaces[0] != before):
                raise self._damaged(release, f"does not follow v{before}, which it replaces,")
            if state.tagged.get(version, release.commit) != release.commit:
                raise RegistryError(
                    f"{self.named}: tag model/v{version} is not at {release.commit[:12]}, where"
                    f" {self.branch} has v{version}; somebody moved it: put it back"
                )
            before = version

    def _tags(self) -> dict[int, str]:
        """Find which commit each version's tag is at. Tags of other names are nobody's business."""
        line = "%(objecttype) %(objectname) %(*objectname) %(refname)"
        listed = self._git.run("for-each-ref", f"--format={line}", TAGS)
        tags = {}
        for line in listed.decode(errors="replace").splitlines():
            if match := TAG.fullmatch(line):
                tags[int(match[4])] = match[3] or match[2]
        return tags

    def extract(self, release: Release, folder: Path) -> Path:
        """Write a release's bundle into a folder that is new or empty, and verify it there.

        Raises:
            RegistryError: the release does not hold exactly one bundle, the one that it names.
            BundleError: the bundle fails verification.
            FileError: the folder cannot be written.
        """
        entries = self._entries(release)
        contents = self._git.read_objects(
            list(entries.values()), "blob", max_bytes=MAX_RELEASE_BYTES
        )
        try:
            folder.mkdir(parents=True, exist_ok=True)
            for name, content in zip(entries, contents, strict=True):
                (folder / name).write_bytes(content)
        except OSError as error:
            raise write_error(folder, error) from error
        verify(folder)
        if facts_of(folder) != release.facts:
            raise self._damaged(release, "does not hold the bundle that its commit names")
        return folder

    def _entries(self, release: Release) -> dict[str, str]:
        """List the files of a release and their blobs: plain files of a bundle, nothing else."""
        self._git.read_objects([release.tree], "tree", max_bytes=MAX_TREE_BYTES)
        listed = self._git.run("ls-tree", "-z", release.tree).decode(errors="replace")
        entries = {}
        for line in listed.split("\0")[:-1]:
            match = ENTRY.fullmatch(line)
            if match is None or match[2] not in (MANIFEST, *FILES, *BESIDE):
                raise self._damaged(release, "holds something that is no file of a bundle")
            entries[match[2]] = match[1]
        if not {MANIFEST, *FILES} <= set(entries):
            raise self._damaged(release, "lacks some of a bundle's files")
        return entries

    def _damaged(self, release: Release, problem: str) -> RegistryError:
        return RegistryError(
            f"{self.named}: {release.name} {problem}; mnistnet rollback takes back an earlier one"
        )

    def check_identity(self) -> None:
        """Make sure that git knows who publishes, before long work. Raises RegistryError."""
        try:
            for who in ("GIT_AUTHOR_IDENT", "GIT_COMMITTER_IDENT"):
                self._git.run("var", who)
        except GitFailed:
            raise RegistryError(
                "git does not know who you are, and a release says who published it;"
                ' git config --global user.name "Your Name", and the same for user.email'
            ) from None

    def commit(self, bundle: Path, notes: Notes, table: str, *, parent: str | None) -> str:
        """Write a release's commit, here; it is not public before it is pushed.

        Returns:
            The commit's name.
        """
        names = sorted(entry.name for entry in bundle.iterdir())
        paths = [str((bundle / name).resolve()) for name in names]
        blobs = self._git.run("hash-object", "-w", "--no-filters", "--", *paths).decode().split()
        pairs = zip(names, blobs, strict=True)
        listing = "".join(f"100644 blob {blob}\t{name}\n" for name, blob in pairs)
        tree = self._git.run("mktree", given=listing.encode()).decode().strip()
        return self.commit_tree(tree, notes, table, parent=parent)

    def commit_tree(self, tree: str, notes: Notes, table: str, *, parent: str | None) -> str:
        """Write a release's commit with the files of another release."""
        parents = ["-p", parent] if parent else []
        given = message(notes, table).encode()
        return self._git.run("commit-tree", tree, *parents, given=given).decode().strip()

    def push(self, commit: str, version: int, expected: str | None) -> None:
        """Make a commit the champion, with its tag: both or neither, and only in its turn.

        Args:
            commit: the release's.
            version: its number, which no tag has yet.
            expected: the commit that it replaces; None where there is no branch yet.

        Raises:
            GitFailed: it was refused, by a race or for good, or nothing is known of it.
        """
        tagger = self._git.run("var", "GIT_COMMITTER_IDENT").decode().strip()
        tag = (
            f"object {commit}\ntype commit\ntag model/v{version}\ntagger {tagger}\n\n"
            f"model v{version}\n"
        )
        name = self._git.run("mktag", given=tag.encode()).decode().strip()
        tag_ref = f"{TAGS}v{version}"
        self._git.run(
            *("push", "--atomic", "--porcelain", "--no-verify", "--no-follow-tags"),
            # The lease makes it a compare-and-swap even if the branch was taken back or away.
            f"--force-with-lease={self._ref}:{expected or ''}",
            f"--force-with-lease={tag_ref}:",
            *(self._git.remote, f"{commit}:{self._ref}", f"{name}:{tag_ref}"),
            network=True,
        )


@contextmanager
def open_registry(remote: str, branch: str) -> Iterator[Registry]:
    """Open the registry that a remote's branch is.

    Args:
        remote: a remote's name in the clone that one is in, or a URL or path.
        branch: its name.

    Raises:
        RegistryError: there is no such remote, no such name, or no git.
    """
    with private_repository(remote) as repository:
        try:
            repository.run("check-ref-format", f"refs/heads/{branch}")
        except GitFailed:
            raise RegistryError(f"{branch!r} cannot be a branch's name; try models") from None
        yield Registry(repository, branch)


def snapshot(bundle: Path, folder: Path) -> Path:
    """Verify a bundle, and copy it to where nobody changes it while it is judged.

    Raises:
        BundleError: it fails verification, or is too large with what lies beside it.
    """
    manifest = verify(bundle)
    folder.mkdir()
    names = [name for name in (MANIFEST, *FILES, *BESIDE) if (bundle / name).exists()]
    size_bytes = sum((bundle / name).stat().st_size for name in names)
    if size_bytes > MAX_RELEASE_BYTES:
        raise BundleError(
            f"{bundle}: has {size_bytes:,} bytes, and a release at most {MAX_RELEASE_BYTES:,}; take"
            f" away what lies beside the bundle ({', '.join(BESIDE)})"
        )
    for name in names:
        shutil.copyfile(bundle / name, folder / name, follow_symlinks=False)
    try:
        unchanged = check_files(folder) == manifest
    except BundleError:
        unchanged = False
    if not unchanged:
        raise BundleError(f"{bundle}: changed while it was read; publish it again")
    return folder
