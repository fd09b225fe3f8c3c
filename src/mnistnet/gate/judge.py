"""`mnistnet gate CANDIDATE`: measure a bundle, compare it with the champion, apply the rules.

    verdict = judge(Path("candidate"), Path("champion"), best=Path("best"))
    verdict.passed

Only bundles are read, never the runs that they came from, and torch need not be installed. What
a manifest claims counts for nothing: all bundles are measured again, on the same images.

A new rule is a limit in `rules`, a function in `checks`, and whatever it needs in `measure`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mnistnet import data as datasets
from mnistnet.bundle.manifest import read_manifest
from mnistnet.bundle.verify import verify
from mnistnet.errors import BundleError
from mnistnet.gate.checks import apply_rules, refuse
from mnistnet.gate.measure import measure
from mnistnet.gate.rules import read_rules

if TYPE_CHECKING:
    from pathlib import Path

    from mnistnet.gate.checks import Verdict


def judge(
    candidate: Path,
    champion: Path | None = None,
    *,
    best: Path | None = None,
    rules: Path | None = None,
    data: Path | None = None,
) -> Verdict:
    """Decide whether a bundle may be published.

    Args:
        candidate: the bundle to decide on.
        champion: the bundle it is to replace; None for a first release.
        best: the bundle with the most correct answers ever published; None where there is none.
        rules: a rules file; None takes gates.toml in the current folder, or else the defaults.
        data: the data set whose test images are used; None searches the usual places.

    Raises:
        FileError: the rules cannot be read.
        DataError: the data set cannot be read.
        BundleError: the candidate is no bundle at all, or another bundle is damaged. A damaged
            candidate is refused.
    """
    limits = read_rules(rules)
    read_manifest(candidate)
    test = datasets.load(data).test
    for other in (champion, best):
        if other:
            verify(other)
    try:
        verify(candidate)
        evidence = measure(candidate, champion, best, test)
    except BundleError as error:
        return refuse(str(error))
    return apply_rules(evidence, limits)
