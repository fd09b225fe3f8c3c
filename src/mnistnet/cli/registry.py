"""`mnistnet publish`, `history`, `rollback`, `pull`, `diff`: models in a git branch."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import click

from mnistnet.cli.options import (
    BUNDLE,
    DATA,
    DRY_RUN,
    JSON,
    MARKDOWN,
    OUT,
    RULES,
    registry_options,
    signer_options,
    version_number,
)
from mnistnet.cli.output import print_json, print_line, print_table
from mnistnet.text import escape_markdown, interval, p_value, points, points_interval, size

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

    from mnistnet.registry.publish import Publication
    from mnistnet.registry.read import Comparison
    from mnistnet.registry.release import Release, State
    from mnistnet.registry.signature import Signer


@click.command()
@BUNDLE
@registry_options
@RULES
@DATA
@click.option(
    "--reinstate",
    is_flag=True,
    help="publish it even if a rollback withdrew it, or newer work replaced it",
)
@click.option(
    "--ignore-damaged",
    is_flag=True,
    help="do not compare it with the champion, or the best, if that release is damaged",
)
@DRY_RUN
@MARKDOWN
@JSON
def publish(
    bundle: Path,
    rules: Path | None,
    data: Path | None,
    markdown: bool,
    as_json: bool,
    **options: Any,
) -> int:
    """Make a bundle the champion, if it passes the gate, which compares it with the current one.

    Exits with 0 if it is, with 1 if the gate refuses it.
    """
    from mnistnet.gate.judge import Evaluator, judge
    from mnistnet.registry.publish import publish

    gate = partial(judge, rules=rules, evaluator=Evaluator(data))  # for every race
    log = partial(_log, markdown=markdown)
    done = publish(bundle, gate=gate, log=log, **options)
    if done.verdict:
        click.echo(done.verdict.table(markdown=markdown))
    _print_publication(str(bundle), done, markdown=markdown, as_json=as_json)
    return 1 if done.outcome == "refused" else 0


@click.command()
@click.argument("version", metavar="vN", type=version_number)
@registry_options
@DRY_RUN
@JSON
def rollback(version: int, as_json: bool, **options: Any) -> None:
    """Publish vN's bundle again, as a new version, and withdraw the models that came after it."""
    from mnistnet.registry.publish import rollback

    done = rollback(version, log=_log, **options)
    _print_publication(f"v{version}'s bundle", done, as_json=as_json)


@click.command()
@registry_options
@JSON
def history(remote: str, branch: str, as_json: bool) -> None:
    """List all releases: when, from which source, how good, by whom, and the champion (*)."""
    from mnistnet.registry.read import history

    state = history(remote=remote, branch=branch)
    ends = [*(release.time for release in state.releases[1:]), None]
    rows = list(zip(state.releases, ends, strict=False))
    if as_json:
        champion = str(state.champion) if state.champion else None
        print_json({"champion": champion, "releases": [_as_json(state, *row) for row in rows]})
    elif not state.releases:
        print_line(f"nothing is published yet on branch {branch}; mnistnet publish does it")
    else:
        print_table([_cells(state, *row) for row in reversed(rows)])


@click.command()
@click.argument("version", metavar="[vN]", required=False, type=version_number)
@OUT
@signer_options
@registry_options
def pull(version: int | None, out: Path, signer: Signer | None, **registry: str) -> None:
    """Write the champion's bundle, or vN's, to a folder, and verify it."""
    from mnistnet.registry.read import pull
    from mnistnet.registry.signature import signer_name

    release = pull(version, out, signer=signer, **registry)
    signed = f", signed by {signer_name(signer)}" if signer else ""
    print_line(f"{out}: {release}, verified{signed}")


@click.command()
@click.argument("a", metavar="vA", type=version_number)
@click.argument("b", metavar="vB", type=version_number)
@registry_options
@DATA
@JSON
def diff(a: int, b: int, as_json: bool, **options: Any) -> None:
    """Compare two versions on the same test images: B's accuracy minus A's."""
    from mnistnet.registry.read import diff

    compared = diff(a, b, log=_log, **options)
    _print_comparison(compared)
    if as_json:
        sides = {
            name: {
                "version": str(side.release),
                "accuracy": side.accuracy.share,
                "size_bytes": side.size_bytes,
            }
            for name, side in (("a", compared.a), ("b", compared.b))
        }
        figures = {"n": compared.a.accuracy.n, **compared.difference._asdict()}
        print_json({**sides, **figures, "mcnemar": compared.test._asdict()})


def _log(line: str, *, markdown: bool = False) -> None:
    """Print what is done next; in Markdown, as a paragraph of its own."""
    print_line(f"… {escape_markdown(line) if markdown else line}", err=True)
    if markdown:
        click.echo(err=True)


def _name(version: int | None) -> str | None:
    return f"v{version}" if version else None


def _print_publication(
    what: str, done: Publication, *, markdown: bool = False, as_json: bool
) -> None:
    version, replaces = _name(done.version), _name(done.replaces)
    instead = f", in place of {replaces}" if replaces else ", the first"
    line = {
        "published": f"{what}: published as {version}{instead}",
        "possible": f"{what}: would be published as {version}{instead}",
        "unchanged": f"{what}: is the champion already, as {version}",
        "refused": f"{what}: refused; the champion stays {replaces or 'nobody'}",
    }[done.outcome]
    if markdown:
        click.echo()
    print_line(escape_markdown(line) if markdown else line)
    if as_json:
        verdict = done.verdict.summary() if done.verdict else None
        result = {"outcome": done.outcome, "version": version, "replaces": replaces}
        print_json(result | {"verdict": verdict})


def _cells(state: State, release: Release, until: datetime | None) -> tuple[str, ...]:
    """Return a release's line: version, champion from and to, accuracy, source, verdict, author."""
    accuracy, withdrawn_by = release.accuracy, state.withdrawn_by(release.bundle)
    low, high = accuracy.interval if accuracy else (0.0, 0.0)
    minutes = "%Y-%m-%d %H:%M"
    return (
        f"{'  ' if until else '* '}{release}",
        f"{release.time:{minutes}} – {until.strftime(minutes) if until else 'now'}",
        f"{accuracy.share:.2%} ({low * 100:.2f}–{high * 100:.2f})" if accuracy else "unknown",
        (release.bundle.source or "unknown")[:12],
        release.verdict + (f"; withdrawn by {withdrawn_by}" if withdrawn_by else ""),
        release.author,
    )


def _as_json(state: State, release: Release, until: datetime | None) -> dict[str, object]:
    bundle, withdrawn_by = release.bundle, state.withdrawn_by(release.bundle)
    accuracy = release.accuracy
    low, high = accuracy.interval if accuracy else (None, None)
    return {
        "version": str(release),
        "commit": release.commit,
        "champion_from": release.time.isoformat(),
        "champion_until": until.isoformat() if until else None,
        "who": release.author,
        "replaces": _name(release.replaced),
        "rollback_to": _name(release.rollback_to),
        "verdict": release.verdict,
        "withdrawn_by": str(withdrawn_by) if withdrawn_by else None,
        "accuracy": accuracy.share if accuracy else None,
        "accuracy_low": low,
        "accuracy_high": high,
        "n": accuracy.n if accuracy else None,
        "judged_on": accuracy.split if accuracy else None,
        "source_commit": bundle.source,
        "bundle_sha256": bundle.bundle_sha256,
        "model_sha256": bundle.model_sha256,
    }


def _print_comparison(compared: Comparison) -> None:
    a, b = compared.a.release, compared.b.release
    for side in (compared.a, compared.b):
        accuracy = side.accuracy
        click.echo(
            f"{side.release}: {accuracy.share:.2%} of {accuracy.n:,} test images"
            f" ({interval(*accuracy.interval)}), {size(side.size_bytes)}"
        )
    difference, low, high = compared.difference
    click.echo(f"{b} minus {a}: {points(difference)} points ({points_interval(low, high)})")
    n01, n10, p = compared.test
    click.echo(
        f"{n01} images only {b} classifies correctly, {n10} only {a}; {p_value(p)} that this is"
        " chance alone (exact McNemar)"
    )
