"""`mnistnet eval`, `export`, `verify`, `gate` and `sign`: the verbs for a bundle in a folder."""

from __future__ import annotations

import os
import warnings
from typing import TYPE_CHECKING, Any

import click

from mnistnet.cli.options import BUNDLE, DATA, JSON, MARKDOWN, OUT, PATH, RULES, signer_options
from mnistnet.cli.output import Bar, print_json, print_line
from mnistnet.errors import SigningError, UsageError
from mnistnet.text import size

if TYPE_CHECKING:
    from pathlib import Path

    from mnistnet.registry.signature import Signer


@click.command("eval")
@click.argument("model", type=PATH, metavar="BUNDLE|RUN")
@click.option("--data", type=PATH, help="a data set, or labelled pictures in folders 0 to 9")
@click.option(
    "--against", type=PATH, help="another bundle or run, to compare with on the same images"
)
@click.option("-o", "--out", type=PATH, help="the report's folder; otherwise below reports/")
@click.option("--quick", is_flag=True, help="leave out robustness and timings, a minute's work")
@MARKDOWN
@JSON
def evaluate(model: Path, markdown: bool, as_json: bool, **options: Any) -> None:
    """Evaluate a model, and write report.json and report.html.

    On MNIST's test images, if no other data are named. A bundle needs no torch.
    """
    from mnistnet.evaluation.evaluate import evaluate
    from mnistnet.report.summary import render_markdown, summarise

    warnings.simplefilter("ignore")  # of oddities in a picture's file that do not matter
    with Bar() as bar:
        done = evaluate(model, on_progress=bar.show_evaluation, **options)
    if markdown:
        click.echo(render_markdown(done.report))
    else:
        for line in summarise(done.report):
            print_line(line)
    print_line(f"Report: {done.page}", err=markdown)
    if as_json:
        print_json(done.as_dict())


@click.command()
@click.argument("run", type=PATH)
@OUT
@DATA
@click.option(
    "--format",
    "kind",
    type=click.Choice(["bundle", "triton"]),
    default="bundle",
    show_default=True,
    help="a bundle, or a model repository for Triton and KServe",
)
def export(run: Path, out: Path, data: Path | None, kind: str) -> None:
    """Write a finished run as a bundle: graphs, weights, report, card and manifest.

    RUN may also be a bundle: its weights are exported again, as this version of the program does.
    With --format triton it must be one, and its graphs are written as they are, each with a
    config.pbtxt.
    """
    from mnistnet.bundle.export_run import export_run
    from mnistnet.serving.triton import MODELS, write_repository

    if kind == "triton":
        if data:
            raise UsageError("--data: goes with --format bundle; a repository needs no data set")
        write_repository(run, out)
        print_line(f"Model repository: {out} ({' and '.join(MODELS)}, verified)")
        return
    manifest = export_run(run, out, data=data)
    if m := manifest.metrics:
        print_line(f"Accuracy: {m.accuracy:.2%} of {m.n:,} {m.judged_on} images")
    size_bytes = sum(file.size_bytes for file in manifest.files.values())
    print_line(f"Bundle: {out} ({size(size_bytes)}, verified)")


@click.command()
@BUNDLE
@signer_options
def verify(bundle: Path, signer: Signer | None) -> None:
    """Check a bundle: every size and SHA-256, and both graphs on stored vectors."""
    from mnistnet.bundle import verify as bundles
    from mnistnet.registry.signature import check_signature, signer_name

    if signer:
        check_signature(bundle, signer)
    manifest = bundles.verify(bundle)
    if signer:
        print_line(f"{bundle}: signed by {signer_name(signer)}")
    print_line(
        f"{bundle}: whole; {len(manifest.files)} files, both graphs reproduce their stored vectors"
    )


@click.command()
@click.argument("candidate", type=PATH)
@click.option("--champion", type=PATH, help="the bundle it is to replace")
@click.option("--best", type=PATH, help="the most accurate bundle ever published")
@RULES
@DATA
@MARKDOWN
@JSON
def gate(
    candidate: Path, data: Path | None, markdown: bool, as_json: bool, **options: Path | None
) -> int:
    """Decide by the rules in gates.toml whether a bundle may replace the champion.

    Exits with 0 if it may be published, with 1 if it is refused.
    """
    from mnistnet.gate.judge import Evaluator, judge

    verdict = judge(candidate, evaluator=Evaluator(data), **options)
    click.echo(verdict.table(markdown=markdown))
    if not markdown:
        print_line(f"{candidate}: {verdict.summary()}")
    if as_json:
        print_json(verdict.as_dict())
    return 0 if verdict.passed else 1


@click.command()
@BUNDLE
@click.option("--key", type=PATH, help="with a private key on the curve P-256, in PEM")
@click.option("--keyless", is_flag=True, help="as the workflow that this runs in, by Sigstore")
@click.option("--if-possible", is_flag=True, help="do nothing outside of such workflows")
def sign(bundle: Path, key: Path | None, keyless: bool, if_possible: bool) -> None:
    """Sign a bundle, in the format of OpenSSF's model signing, into its model.sig.

    A key is made by: openssl ecparam -name prime256v1 -genkey -noout -out private.pem, and its
    public half by: openssl ec -in private.pem -pubout -out public.pem. An encrypted key's password
    is taken from $MNISTNET_KEY_PASSWORD.

    Without a key, Sigstore vouches for the workflow that this runs in, and its public log names
    that workflow. With --if-possible, it is no error to run outside of a workflow; a failure of
    Sigstore still is.
    """
    from mnistnet.registry import signature

    if keyless == (key is not None):
        raise UsageError("sign either with --key FILE or with --keyless")
    if if_possible and not keyless:
        raise UsageError("--if-possible goes with --keyless; a key is always possible")
    written = (
        signature.sign(bundle, key, password=os.environ.get("MNISTNET_KEY_PASSWORD"))
        if key
        else signature.sign_keyless(bundle)
    )
    if written:
        print_line(f"Signature: {written}")
    elif if_possible:
        print_line(f"{bundle}: not signed; no identity token is available here")
    else:
        raise SigningError(
            f"{bundle}: no identity token is available here; a workflow's job gets one by the"
            " permission id-token: write, and everybody else signs with --key"
        )
