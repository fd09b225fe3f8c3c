"""`mnistnet serve`: the model behind HTTP."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from mnistnet.cli.options import PATH
from mnistnet.cli.output import print_line
from mnistnet.extras import import_extra

if TYPE_CHECKING:
    from pathlib import Path


@click.command()
@click.option("--bundle", type=PATH, help="serve this bundle")
@click.option("--host", default="127.0.0.1", show_default=True, help="the address to listen on")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=8000,
    show_default=True,
    help="the port to listen on; 0 is any that is free",
)
def serve(bundle: Path | None, host: str, port: int) -> None:
    """Serve a model over HTTP, until SIGTERM or Ctrl-C."""
    import_extra("serve", "fastapi", "uvicorn", "python_multipart", "prometheus_client")
    from mnistnet.inference.predictor import DEFAULT_BUNDLE
    from mnistnet.serving.server import Options, serve

    serve(Options(bundle or DEFAULT_BUNDLE, host, port), print_line)
