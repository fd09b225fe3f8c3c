"""The service on Ray Serve: `serve run mnistnet.serving.ray:app`. Extra `scale`.

    serve run mnistnet.serving.ray:build bundle=/models/v3 replicas=4

The same application as `mnistnet serve`, in each replica, with a batcher of its own. Ray's command
imports this file before it starts a cluster, so this is where usage reports are turned off.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from mnistnet.errors import UsageError
from mnistnet.inference.predictor import DEFAULT_BUNDLE

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # before ray is imported

from ray import serve

if TYPE_CHECKING:
    from fastapi import FastAPI
    from ray.serve import Application


def build(options: dict[str, str]) -> Application:
    """Return the application; Ray calls this with the words `name=value` of its command.

    Args:
        options: `bundle`, a folder that every machine of the cluster has; by default the one in
            the package. `replicas`: how many copies of the service there are; by default 1.

    Raises:
        UsageError: there is no such option, or replicas is no number.
    """
    if unknown := sorted(options.keys() - {"bundle", "replicas"}):
        raise UsageError(f"{unknown[0]!r:.40} is no option; there are bundle and replicas")
    bundle, replicas = Path(options.get("bundle", DEFAULT_BUNDLE)), options.get("replicas", "1")
    if not (replicas.isdecimal() and int(replicas) > 0):
        raise UsageError(f"replicas={replicas!r:.40} is not possible; give a number from 1 on")

    def replica() -> FastAPI:  # runs where the replica does
        from mnistnet.serving.app import create_app
        from mnistnet.serving.served import Current, load

        return create_app(Current(load(bundle)))

    service: Application = serve.deployment(name="mnistnet", num_replicas=int(replicas))(
        serve.ingress(replica)()
    ).bind()
    return service


app = build({})
