"""`mnistnet export RUN -o DIR` and `mnistnet verify DIR`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from mnistnet.cli.options import DATA, PATH
from mnistnet.cli.signer import signer_options
from mnistnet.extras import import_extra

if TYPE_CHECKING:
    from pathlib import Path

    from mnistnet.registry.signature import Signer


@click.command()
@click.argument("run", type=PATH)
@click.option("-o", "--out", type=PATH, required=True, help="the bundle's folder")
@DATA
def export(run: Path, out: Path, data: Path | None) -> None:
    """Write a finished run as a bundle: graphs, weights, report, card and manifest."""
    import_extra("train", "torch", "onnx", "onnxscript", "safetensors")
    from mnistnet.bundle.export_run import export_run

    manifest = export_run(run, out, data=data)
    size = sum(file.size_bytes for file in manifest.files.values())
    metrics = manifest.metrics
    click.echo(
        f"Accuracy: {metrics['accuracy']:.2%} of {metrics['n']:,} {metrics['judged_on']} images"
    )
    click.echo(f"Bundle: {out} ({size / 1000:,.0f} kB, verified)")


@click.command()
@click.argument("bundle", type=PATH)
@signer_options
def verify(bundle: Path, signer: Signer | None) -> None:
    """Check a bundle: every size and SHA-256, and both graphs on stored vectors."""
    from mnistnet.bundle import verify as bundles
    from mnistnet.registry.signature import check_signature, signer_name

    if signer:
        check_signature(bundle, signer)
    manifest = bundles.verify(bundle)
    if signer:
        click.echo(f"{bundle}: signed by {signer_name(signer)}")
    click.echo(f"{bundle}: whole; {len(manifest.files)} files, both graphs answer as they should")
