"""`mnistnet serve --registry origin [--follow]`: the registry's champion, and each that follows.

current = Current(fetch(Source("origin")))
follow(Source("origin"), current, every_s=60)     # in a thread of its own
"""

from __future__ import annotations

import logging
import time
import weakref
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, NoReturn

from mnistnet.errors import BundleError
from mnistnet.files import scratch_folder
from mnistnet.registry.read import champion_commit, pull
from mnistnet.registry.registry import DamagedError, naming
from mnistnet.serving.monitoring import metrics
from mnistnet.serving.served import load

if TYPE_CHECKING:
    from mnistnet.registry.signature import Signer
    from mnistnet.serving.served import Current, Served

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Source:
    """Where the models come from."""

    remote: str  # a remote's name in the clone that this is run in, or a URL or path
    branch: str = "models"
    signer: Signer | None = None  # who must have signed each of them


def fetch(source: Source) -> Served:
    """Fetch a registry's champion, verify it, and load it.

    Its bundle lies in a temporary folder, which is deleted when nothing uses the model any more.

    Raises:
        MnistNetError: see `pull`.
    """
    with ExitStack() as stack:
        bundle = stack.enter_context(scratch_folder()) / "bundle"
        where = {"remote": source.remote, "branch": source.branch}
        release = pull(None, bundle, signer=source.signer, **where)
        with naming(bundle, release):
            served = load(bundle, str(release))
        weakref.finalize(served.predictor, stack.pop_all().close)
    return served


def follow(source: Source, current: Current, *, every_s: float) -> NoReturn:
    """Change to each new champion, as long as the process lives.

    A request in progress keeps the model that it began with. A champion that fails verification is
    refused: what was served before is served on, until there is yet another champion. So it is,
    too, while the registry cannot be read. Each look is counted, by what came of it.

    Args:
        source: the registry.
        current: what is served; it is replaced.
        every_s: the time between two looks at the registry.
    """
    decided = ""  # the commit that is served, or was refused
    while True:
        time.sleep(every_s)
        head, version, outcome = decided, current.served.version, "unchanged"
        try:
            head = champion_commit(remote=source.remote, branch=source.branch)
            if head != decided:
                served = fetch(source)
                if (served.version, served.digest) != (version, current.served.digest):
                    current.served, outcome = served, "changed"
                    log.info("changed from %s to %s", version, served.version)
                decided = head
        except (BundleError, DamagedError) as error:
            decided, outcome = head, "refused"
            log.error("refused: %s; %s is served on", error, version)
        except Exception as error:  # whatever happens, the service goes on, and tries again
            outcome = "failed"
            log.warning("no look at the registry: %s; %s is served on", error, version)
        metrics().looks.labels(outcome).inc()
