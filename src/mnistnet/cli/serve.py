"""`mnistnet serve` and `site`: the model behind HTTP, and the page without a service."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mnistnet.cli.options import BRANCH, PATH, signer_options
from mnistnet.cli.output import print_line
from mnistnet.errors import UsageError
from mnistnet.extras import import_extra
from mnistnet.text import size

if TYPE_CHECKING:
    from mnistnet.registry.signature import Signer


@click.command()
@click.option("--bundle", type=PATH, help="serve this bundle")
@click.option(
    "--registry",
    help="serve the champion of this registry: a remote of this clone, or a URL or path",
)
@BRANCH
@signer_options
@click.option(
    "--follow",
    is_flag=False,
    flag_value=60.0,
    type=click.FloatRange(min=0.1),
    metavar="[SECONDS]",
    help="change to each new champion; look for one every 60 seconds, or every SECONDS",
)
@click.option("--host", default="127.0.0.1", show_default=True, help="the address to listen on")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=8000,
    show_default=True,
    help="the port to listen on; 0 is any that is free",
)
@click.option(
    "--workers",
    type=click.IntRange(1, 64),
    default=1,
    show_default=True,
    help="how many processes answer requests",
)
@click.option("--access-log", is_flag=True, help="log all requests, not only those that fail")
@click.option("--collect", type=PATH, help="keep pictures that were misread in this folder")
def serve(
    bundle: Path | None,
    registry: str | None,
    branch: str,
    signer: Signer | None,
    follow: float | None,
    **options: Any,
) -> None:
    """Serve a model over HTTP, until SIGTERM or Ctrl-C.

    That is the bundle in the package, another BUNDLE, or what a registry has published.
    """
    import_extra("serve", "fastapi", "uvicorn", "python_multipart", "prometheus_client")
    from mnistnet.inference.predictor import DEFAULT_BUNDLE
    from mnistnet.serving.following import Source
    from mnistnet.serving.server import Options, serve

    if bundle and registry:
        raise UsageError("--bundle and --registry: serve either a folder or what is published")
    if not registry and (follow or signer):
        raise UsageError("--follow, --public-key and --identity go with --registry; name that too")
    source = Source(registry, branch, signer) if registry else None
    serve(Options(bundle or DEFAULT_BUNDLE, source, follow, **options), print_line)


@click.command()
@click.option("--bundle", type=PATH, help="the model that the page asks")
@click.option("-o", "--out", type=PATH, required=True, help="the site's folder")
@click.option("--report", type=PATH, help="the folder of an evaluation that the page links to")
@click.option(
    "--runtime",
    type=PATH,
    default=Path("node_modules/onnxruntime-web"),
    show_default=True,
    help="onnxruntime-web, as npm installs it",
)
def site(bundle: Path | None, out: Path, report: Path | None, runtime: Path) -> None:
    """Write the page to draw on as a static site: the browser itself runs the model."""
    from mnistnet.inference.predictor import DEFAULT_BUNDLE
    from mnistnet.serving.site import write_site

    done = write_site(bundle or DEFAULT_BUNDLE, out, runtime=runtime, report=report)
    print_line(
        f"Site: {out}, {done.version} ({size(done.total_bytes)}; a browser loads"
        f" {size(done.load_bytes)} before it reads the first digit)"
    )
