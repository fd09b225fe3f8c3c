"""What is served: a verified bundle, loaded, with its version. It is replaced as a whole.

current = Current(load(DEFAULT_BUNDLE))
served = current.served          # once a request: it uses one model from beginning to end
current.served = load(other)     # later requests use the other one
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from mnistnet.bundle.manifest import manifest_sha256
from mnistnet.bundle.verify import verify
from mnistnet.inference import Predictor
from mnistnet.serving.batching import Batcher, Pool

if TYPE_CHECKING:
    from pathlib import Path

DIGEST_CHARACTERS = 12  # of a digest, as the version of a bundle that is no release


@dataclass(frozen=True)
class Served:
    """A model that answers requests."""

    predictor: Predictor  # pictures → digits
    batcher: Batcher  # images → probabilities, those of several requests together
    version: str  # the release's, `v3`; or the first characters of the digest
    digest: str  # SHA-256 of the bundle's manifest, which names the hash of every other file
    ready: bool = True


@dataclass
class Current:
    """The model that new requests get. Assigning another one changes over, in one step."""

    served: Served
    pool: Pool = field(default_factory=Pool)  # runs what would block the event loop


def load(bundle: Path, version: str | None = None) -> Served:
    """Verify a bundle, load its graphs and run each once, so that no request waits for that.

    Args:
        bundle: its folder.
        version: the release's; by default the bundle is named by its digest.

    Raises:
        BundleError: it fails verification.
    """
    verify(bundle)
    digest = manifest_sha256(bundle)
    predictor = Predictor(bundle)
    predictor.classify(np.zeros((1, 28, 28), np.uint8))
    predictor.predict(np.zeros((28, 28), np.uint8))
    return Served(predictor, Batcher(predictor), version or digest[:DIGEST_CHARACTERS], digest)
