"""The registry: a git branch whose every commit is one release, and whose head is the champion.

    with open_registry("origin", "models") as registry:
        state = registry.read()                          # the releases, and who is champion
        folder = registry.extract(state.champion)        # with its bundle, verified
        commit = registry.commit(tree, record, table)
            registry.push(commit, record, timeout_s=300)     # all of it or nothing

A push is a compare-and-swap: it succeeds only where branch and tags still are what was read.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import contextmanager
from typing import TYPE_CHECKING

from mnistnet.bundle.manifest import EXTRA_FILES, FILES, MANIFEST
from mnistnet.bundle.verify import verify
from mnistnet.errors import BundleError, RegistryError
from mnistnet.files import replace_folder
from mnistnet.registry.git import GitError
from mnistnet.registry.release import (
    FORMAT,
    OBJECT_NAME,
    VERSION,
    State,
    describe,
    parse_log,
    write_message,
)
from mnistnet.registry.repository import private_repository

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from mnistnet.registry.release import Record, Release
    from mnistnet.registry.repository import Repository

Log = Callable[[str], object]  # is called with a line on what is done next
TAGS = "refs/tags/model/"
TAG = re.compile(rf"({OBJECT_NAME})\t{TAGS}{VERSION}(?:\^\{{\}}|(/.+))?")
ENTRY = re.compile(rf"100644 blob ({OBJECT_NAME}) +([0-9]+)\t([^\0]+)\0")  # a plain file
MAX_RELEASE_BYTES = 1_000_000  # a bundle with all files next to it


class DamagedError(RegistryError):
    """A release does not hold one whole bundle, the one that it names."""


class Registry:
    """The branch of a remote, seen through a private repository."""

    def __init__(self, repository: Repository, branch: str, log: Log) -> None:
        self._git = repository
        self.log = log
        self.scratch = repository.scratch
        self._ref = f"refs/heads/{branch}"
        self.branch = branch
        self.shown = repository.shown

    def head(self) -> str:
        """Return the champion's commit, and fetch nothing; an empty text where there is none.

        Raises:
            UnreachableError: the remote cannot be read.
        """
        return (
            self._git.contact("ls-remote", self._git.remote, self._ref).decode().partition("\t")[0]
        )

    def read(self) -> State:
        """Fetch the branch, and list the tags, as they are now.

        Raises:
            UnreachableError: they cannot be fetched.
            RegistryError: they are not what publishing makes.
        """
        listed = self._git.contact("ls-remote", self._git.remote, self._ref, f"{TAGS}*")
        lines = listed.decode(errors="replace").splitlines()
        # An annotated tag has two lines; the second, with ^{}, has its commit. Where there is a tag
        # v7/x, git can make none v7.
        found = [m for line in lines if (m := TAG.fullmatch(line))]
        tags = {int(m[2]): "" if m[3] else m[1] for m in found}
        if not any(line.endswith(f"\t{self._ref}") for line in lines):
            return State((), tags)
        # Where the remote can, it sends the files of those releases only that are read.
        words = ("fetch", "--quiet", "--no-tags", "--refmap=", "--filter=blob:none")
        self._git.contact(*words, self._git.remote, f"+{self._ref}:{self._ref}")
        log = self._git.run(
            *("log", "-z", f"--format={FORMAT}", "--first-parent", "--reverse"),
            *("--no-show-signature", self._ref, "--"),
        )
        state = State(parse_log(log, f"{self.shown}, branch {self.branch}"), tags)
        for release in state.releases:
            if (tags.get(release.version) or release.commit) != release.commit:
                raise RegistryError(
                    f"{self.shown}: tag model/{release} is not at {release.commit[:12]}, where"
                    f" {self.branch} has {release}; somebody moved it: put it back"
                )
        return state

    def find(self, state: State, version: int | None) -> Release:
        """Return a release by its number, or the champion. Raises RegistryError: there is none."""
        if state.champion is None:
            raise RegistryError(
                f"{self.shown}: branch {self.branch} has no releases yet; mnistnet publish makes"
                " the first"
            )
        if version is None:
            return state.champion
        for release in state.releases:
            if release.version == version:
                return release
        raise RegistryError(
            f"{self.shown}: branch {self.branch} has no v{version}; its champion is"
            f" {state.champion}, and mnistnet history lists all"
        )

    def extract(self, release: Release) -> Path:
        """Return a folder with a release's bundle, verified; it is there until the block's end.

        Raises:
            DamagedError: the release does not hold exactly one bundle, the one that it names.
            FileError: the folder cannot be written.
        """
        folder = self.scratch / str(release)
        if folder.exists():
            return folder
        blobs = self._blobs(release)
        with replace_folder(folder, ()) as unverified:
            for name, blob in blobs.items():
                (unverified / name).write_bytes(self._git.contact("cat-file", "blob", blob))
            try:
                with naming(unverified, release):
                    verify(unverified)
            except BundleError as error:
                raise self._damaged(release, f"fails verification ({error})") from error
            if describe(unverified) != release.bundle:
                raise self._damaged(release, "does not hold the bundle that its commit names")
        return folder

    def _blobs(self, release: Release) -> dict[str, str]:
        """List the files of a release and their blobs: plain files of a bundle, nothing else."""
        listed = self._git.run("ls-tree", "-z", "--name-only", release.tree)
        names = set(listed.decode(errors="replace").split("\0")[:-1])
        if not names <= {MANIFEST, *FILES, *EXTRA_FILES}:
            raise self._damaged(release, "holds something that is no file of a bundle")
        # With the sizes, for which blobs may have to be fetched.
        entries = ENTRY.findall(self._git.contact("ls-tree", "-z", "-l", release.tree).decode())
        if len(entries) < len(names):
            raise self._damaged(release, "holds a link or a folder, which is no file of a bundle")
        if sum(int(size_bytes) for _, size_bytes, _ in entries) > MAX_RELEASE_BYTES:
            raise self._damaged(release, f"has files of more than {MAX_RELEASE_BYTES:,} bytes")
        return {name: blob for blob, _, name in entries}

    def _damaged(self, release: Release, problem: str) -> DamagedError:
        return DamagedError(
            f"{self.shown}: {release} {problem}; mnistnet rollback takes back an earlier one, and"
            " mnistnet publish --ignore-damaged publishes over it"
        )

    def check_writable(self) -> None:
        """Check, before long work, that git knows who publishes where. Raises RegistryError."""
        if self._git.addresses != 1:
            raise RegistryError(
                f"{self.shown}: has {self._git.addresses} addresses that git push writes to, and a"
                " release takes one; give --remote its URL or path"
            )
        try:
            for identity in ("GIT_AUTHOR_IDENT", "GIT_COMMITTER_IDENT"):
                self._git.run("var", identity)
        except GitError:
            raise RegistryError(
                "git does not know who you are, and a release says who published it;"
                ' git config --global user.name "Your Name", and the same for user.email'
            ) from None

    def write_tree(self, bundle: Path) -> str:
        """Store a bundle's files in the private repository, and return the tree's name."""
        files = sorted(bundle.iterdir())
        paths = [str(file.resolve()) for file in files]
        blobs = self._git.run("hash-object", "-w", "--no-filters", "--", *paths).decode().split()
        entries = zip(blobs, files, strict=True)
        listing = "".join(f"100644 blob {blob}\t{file.name}\n" for blob, file in entries)
        return self._git.run("mktree", stdin=listing.encode()).decode().strip()

    def commit(self, tree: str, record: Record, table: str) -> str:
        """Write a release's commit and tag, not public before the push; return the commit."""
        parents = ["-p", record.replaces[1]] if record.replaces else []
        message = write_message(record, table).encode()
        commit = self._git.run("commit-tree", tree, *parents, stdin=message).decode().strip()
        words = ("--annotate", "--force", "--message", f"model {record}")
        self._git.run("tag", *words, f"model/{record}", commit)
        return commit

    def push(self, commit: str, record: Record, *, timeout_s: float) -> None:
        """Make a commit the champion, with its tag: both or neither, and only after its parent.

        Raises:
            GitError: it was refused, by a race or for good, or nothing is known of it.
        """
        tag = f"{TAGS}{record}"
        expected = record.replaces[1] if record.replaces else ""
        self._git.run(
            *("push", "--atomic", "--porcelain", "--no-verify", "--no-follow-tags"),
            # The lease makes it a compare-and-swap even if the branch was taken back or away.
            f"--force-with-lease={self._ref}:{expected}",
            f"--force-with-lease={tag}:",
            *(self._git.remote, f"{commit}:{self._ref}", f"{tag}:{tag}"),
            timeout_s=timeout_s,
        )


@contextmanager
def open_registry(
    remote: str, branch: str, log: Log = lambda _: None, *, writes: bool = False
) -> Iterator[Registry]:
    """Open the registry that a remote's branch is; the remote is a name, a URL or a path.

    Raises:
        RegistryError: there is no such remote, no such name, or no git; or git does not know who
            writes, where something is to be written.
    """
    with private_repository(remote) as repository:
        try:
            repository.run("check-ref-format", f"refs/heads/{branch}")
        except GitError:
            raise RegistryError(f"{branch!r} cannot be a branch's name; try models") from None
        registry = Registry(repository, branch, log)
        if writes:
            registry.check_writable()
        log(f"fetching {branch} from {registry.shown}")
        yield registry


@contextmanager
def naming(folder: Path, name: object) -> Iterator[None]:
    """Name a bundle in errors, and not the temporary folder that a copy of it lies in."""
    try:
        yield
    except BundleError as error:
        raise BundleError(str(error).replace(str(folder), str(name))) from error
