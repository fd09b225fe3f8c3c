"""What the registry holds at one moment, and what follows from it: all that needs no git."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mnistnet.registry.release import Facts, Release


@dataclass(frozen=True)
class State:
    """What the registry holds at one moment.

    Attributes:
        releases: oldest first.
        tagged: the commit of each version that has a tag, on the branch or not.
    """

    releases: tuple[Release, ...]
    tagged: dict[int, str]

    @property
    def champion(self) -> Release | None:
        """The last release; None before the first."""
        return self.releases[-1] if self.releases else None

    @property
    def head(self) -> str | None:
        """The champion's commit."""
        return self.champion.commit if self.champion else None

    @property
    def next_version(self) -> int:
        """A number that was never given, even to a release that somebody took off the branch."""
        return 1 + max([0, *self.tagged, *(r.notes.version for r in self.releases)])

    def find(self, version: int) -> Release | None:
        """Find a release by its number."""
        return next((r for r in self.releases if r.notes.version == version), None)

    def withdrawn_by(self, facts: Facts) -> Release | None:
        """Find the rollback that withdrew a bundle or its model.

        What was published again all the same is no longer withdrawn.
        """
        withdrawn: dict[str, Release] = {}
        for release in self.releases:
            withdrawn |= {digest: release for _, digest in release.notes.withdraws}
            for digest in (release.facts.bundle_sha256, release.facts.model_sha256):
                withdrawn.pop(digest, None)
        return withdrawn.get(facts.bundle_sha256) or withdrawn.get(facts.model_sha256)

    def best(self) -> Release | None:
        """Find the release that read the most test images of all that are not withdrawn."""
        judged = [
            (accuracy.share, release.notes.version, release)
            for release in self.releases
            if (accuracy := release.facts.accuracy)
            and accuracy.judged_on == "test"
            and not self.withdrawn_by(release.facts)
        ]
        return max(judged)[2] if judged else None
