"""The message of a release's commit: written from a record, and read again by git.

    text = write_message(record, table)      # table: the gate's, in its full length
    git log -z --format=FORMAT               # → parse_log(output, where)

It ends in lines of `Name: value`, git's trailers, so the history is read without fetching a
single bundle. docs/DELIVERY.md lists them. What comes from a remote may be hostile, so they are
matched from beginning to end, and every value is bounded.
"""

from __future__ import annotations

import re
from datetime import datetime
from typing import TYPE_CHECKING

from mnistnet.errors import RegistryError
from mnistnet.registry.release import (
    OBJECT_NAME,
    SOURCE,
    Accuracy,
    Record,
    Release,
    ReleasedBundle,
)
from mnistnet.text import printable

if TYPE_CHECKING:
    from collections.abc import Sequence

FIELDS = ("%H", "%T", "%P", "%an", "%cI", "%(trailers:only,unfold)")
FORMAT = "%x00".join(FIELDS)
VERSION = r"v([1-9][0-9]{0,8})"
SHA256 = r"[0-9a-f]{64}"
WITHDRAWS = rf"Withdraws: {VERSION} ({SHA256})\n"
TRAILERS = re.compile(
    rf"Version: {VERSION}\n"
    rf"(?:Replaces: {VERSION} (?P<parent>{OBJECT_NAME})\n)?"
    rf"(?:Rollback-To: {VERSION}\n)?"
    r"Verdict: (?P<verdict>.{1,200})\n"
    r"(?:Accuracy: (?P<accuracy>.{1,60})\n)?"
    rf"(?:Source-Commit: (?P<source>{SOURCE.pattern})\n)?"
    rf"Bundle-SHA256: (?P<bundle>{SHA256})\n"
    rf"Model-SHA256: (?P<model>{SHA256})\n"
    rf"(?P<withdraws>(?:{WITHDRAWS})*)"
)


def write_message(record: Record, table: str) -> str:
    """Return the message of a release's commit; the table is the gate's, in its full length."""
    accuracy = record.accuracy
    title = f"model {record}"
    if record.rollback_to:
        title += f": back to v{record.rollback_to}"
    elif accuracy:
        title += f": {accuracy.share:.2%} of {accuracy.n:,} images"
    values = {
        "Version": str(record),
        "Replaces": record.replaces and "v{} {}".format(*record.replaces),
        "Rollback-To": record.rollback_to and f"v{record.rollback_to}",
        "Verdict": " ".join(record.verdict.split())[:200] or "none",
        "Accuracy": accuracy,
        "Source-Commit": record.bundle.source,
        "Bundle-SHA256": record.bundle.bundle_sha256,
        "Model-SHA256": record.bundle.model_sha256,
    }
    trailers = [f"{name}: {value}" for name, value in values.items() if value]
    trailers += [f"Withdraws: v{version} {digest}" for version, digest in record.withdraws]
    return "\n\n".join([title, table.strip() or record.verdict, "\n".join(trailers)]) + "\n"


def parse_log(output: bytes, where: str) -> tuple[Release, ...]:
    """Read releases from what `git log -z --format=FORMAT` prints, `where` for the message.

    Raises:
        RegistryError: one of the commits is no release.
    """
    fields = output.decode(errors="replace").split("\0")[:-1]
    n = len(FIELDS)
    return tuple(_release(fields[i : i + n], where) for i in range(0, len(fields), n))


def _release(fields: Sequence[str], where: str) -> Release:
    commit, tree, parents, author, time, trailers = fields
    try:
        match = TRAILERS.fullmatch(trailers)
        if match is None or parents != (match["parent"] or ""):  # a merge is no release
            raise ValueError(trailers)
        moment = datetime.fromisoformat(time)
    except ValueError:
        raise RegistryError(
            f"{where}: commit {commit[:12]} is no release of mnistnet publish; take it off the"
            " branch, or give --branch the name of one that holds releases only"
        ) from None
    version, replaced, rollback_to = match[1], match[2], match[4]
    withdraws = re.findall(WITHDRAWS, match["withdraws"])
    return Release(
        version=int(version),
        bundle=ReleasedBundle(
            bundle_sha256=match["bundle"],
            model_sha256=match["model"],
            source=match["source"],
        ),
        verdict=printable(match["verdict"]),
        accuracy=Accuracy.parse(match["accuracy"] or ""),
        replaces=(int(replaced), match["parent"]) if replaced else None,
        rollback_to=int(rollback_to) if rollback_to else None,
        withdraws=tuple((int(version), digest) for version, digest in withdraws),
        commit=commit,
        tree=tree,
        author=printable(author)[:100],
        time=moment,
    )
