"""The message of a release's commit: written from a record, and read again by git.

    text = write_message(record, table)      # table: the gate's, in its full length
    git log -z --format=FORMAT               # → parse_log(output, where)

It ends in lines of `Name: value`, git's trailers, so the history is read without fetching a
single bundle. docs/DELIVERY.md lists them. What comes from a remote may be hostile: every value is
matched from beginning to end, and bounded.
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
TRAILERS = {  # name → what its value must be, from beginning to end
    "Version": VERSION,
    "Replaces": rf"{VERSION} ({OBJECT_NAME})",
    "Rollback-To": VERSION,
    "Verdict": r".{1,200}",
    "Accuracy": r".{1,60}",
    "Source-Commit": SOURCE.pattern,
    "Bundle-SHA256": SHA256,
    "Model-SHA256": SHA256,
    "Withdraws": rf"{VERSION} ({SHA256})",
}


def write_message(record: Record, table: str) -> str:
    """Return the message of a release's commit; the table is the gate's, in its full length."""
    accuracy = record.bundle.accuracy
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
    try:
        commit, tree, parents, author, time, trailers = fields
        record = _record(trailers)
        if parents != (record.replaces[1] if record.replaces else ""):  # a merge is no release
            raise ValueError
        return Release(
            **vars(record),
            commit=commit,
            tree=tree,
            author=printable(author)[:100],
            time=datetime.fromisoformat(time),
        )
    except ValueError:
        raise RegistryError(
            f"{where}: commit {fields[0][:12]} is no release of mnistnet publish; take it off the"
            " branch, or give --branch the name of one that holds releases only"
        ) from None


def _record(trailers: str) -> Record:
    """Read the trailers. Raises ValueError: one is missing, twice there or malformed."""
    found: dict[str, list[re.Match[str]]] = {name: [] for name in TRAILERS}
    for line in trailers.removesuffix("\n").split("\n"):
        name, _, value = line.partition(": ")
        match = re.fullmatch(TRAILERS[name], value) if name in TRAILERS else None
        if match is None:
            raise ValueError(name)
        found[name].append(match)

    def optional(name: str) -> re.Match[str] | None:
        return required(name) if found[name] else None

    def required(name: str) -> re.Match[str]:
        (match,) = found[name]  # ValueError if there is none, or more than one
        return match

    replaces, rollback_to = optional("Replaces"), optional("Rollback-To")
    accuracy, source = optional("Accuracy"), optional("Source-Commit")
    return Record(
        version=int(required("Version")[1]),
        bundle=ReleasedBundle(
            bundle_sha256=required("Bundle-SHA256")[0],
            model_sha256=required("Model-SHA256")[0],
            accuracy=Accuracy.parse(accuracy[0]) if accuracy else None,
            source=source[0] if source else None,
        ),
        verdict=printable(required("Verdict")[0]),
        replaces=(int(replaces[1]), replaces[2]) if replaces else None,
        rollback_to=int(rollback_to[1]) if rollback_to else None,
        withdraws=tuple((int(match[1]), match[2]) for match in found["Withdraws"]),
    )
