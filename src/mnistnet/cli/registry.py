"""`mnistnet publish`, `history`, `rollback`, `pull`, `diff`: models in a git branch."""

from __future__ import annotations

import json
import re
from functools import partial
from typing import TYPE_CHECKING

import click

from mnistnet.cli.bundle import signer_options
from mnistnet.cli.options import DATA, JSON, MARKDOWN, PATH, RULES, registry_options
from mnistnet.errors import UsageError
from mnistnet.text import escape_markdown, table

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

    from mnistnet.registry.publish import Publication
    from mnistnet.registry.read import Comparison
    from mnistnet.registry.release import Release, State
    from mnistnet.registry.signature import Signer

DRY_RUN = click.option("--dry-run", is_flag=True, help="do everything but publish")


@click.command()
@click.argument("bundle", type=PATH)
@registry_options
@RULES
@DATA
@click.option("--reinstate", is_flag=True, help="publish it even if a rollback withdrew it")
@DRY_RUN
@MARKDOWN
@JSON
def publish(
    bundle: Path,
    remote: str,
    branch: str,
    rules: Path | None,
    data: Path | None,
    reinstate: bool,
    dry_run: bool,
    markdown: bool,
    as_json: bool,
) -> int:
    """Make a bundle the champion, if it passes the gate next to the champion of now.

    Exits with 0 if it is, with 1 if the gate refuses it.
    """
    from mnistnet.gate.judge import judge
    from mnistnet.registry.publish import publish

    done = publish(
        bundle,
        remote=remote,
        branch=branch,
        gate=partial(judge, rules=rules, data=data),
        reinstate=reinstate,
        dry_run=dry_run,
        log=_log_in_markdown if markdown else _log,
    )
    if done.verdict:
        click.echo(done.verdict.table(markdown=markdown))
    _print_publication(str(bundle), done, markdown=markdown, as_json=as_json)
    return 1 if done.outcome == "refused" else 0


@click.command()
@click.argument("version", metavar="vN")
@registry_options
@DRY_RUN
@JSON
def rollback(version: str, remote: str, branch: str, dry_run: bool, as_json: bool) -> None:
    """Publish vN's bundle again, as a new version, and withdraw the models that came after it."""
    from mnistnet.registry.publish import rollback

    number = _number(version)
    done = rollback(number, remote=remote, branch=branch, dry_run=dry_run, log=_log)
    _print_publication(f"v{number}'s bundle", done, markdown=False, as_json=as_json)


@click.command()
@registry_options
@JSON
def history(remote: str, branch: str, as_json: bool) -> None:
    """List what was published: when, from which source, how good, by whom, and the champion (*)."""
    from mnistnet.registry.read import history

    state = history(remote=remote, branch=branch)
    ends = [*(release.time for release in state.releases[1:]), None]
    rows = list(zip(state.releases, ends, strict=False))
    if as_json:
        champion = str(state.champion) if state.champion else None
        releases = [_as_json(state, *row) for row in rows]
        click.echo(json.dumps({"champion": champion, "releases": releases}))
    elif not state.releases:
        click.echo(f"nothing is published yet on branch {branch}; mnistnet publish does it")
    else:
        click.echo("\n".join(table([_cells(state, *row) for row in reversed(rows)])))


@click.command()
@click.argument("version", metavar="[vN]", required=False)
@click.option("-o", "--out", type=PATH, required=True, help="the bundle's folder")
@signer_options
@registry_options
def pull(version: str | None, out: Path, signer: Signer | None, remote: str, branch: str) -> None:
    """Write the champion's bundle, or vN's, to a folder, and verify it."""
    from mnistnet.registry.read import pull
    from mnistnet.registry.signature import signer_name

    number = _number(version) if version else None
    release = pull(number, out, remote=remote, branch=branch, signer=signer)
    signed = f", signed by {signer_name(signer)}" if signer else ""
    click.echo(f"{out}: {release}, verified{signed}")


@click.command()
@click.argument("a", metavar="vA")
@click.argument("b", metavar="vB")
@registry_options
@DATA
@JSON
def diff(a: str, b: str, remote: str, branch: str, data: Path | None, as_json: bool) -> None:
    """Compare two versions on the same test images: B's accuracy minus A's."""
    from mnistnet.registry.read import diff

    compared = diff(_number(a), _number(b), remote=remote, branch=branch, data=data, log=_log)
    _print_comparison(compared, as_json=as_json)


def _log(line: str) -> None:
    click.echo(f"… {line}", err=True)


def _log_in_markdown(line: str) -> None:
    click.echo(f"… {escape_markdown(line)}\n", err=True)  # a paragraph of its own


def _number(version: str) -> int:
    match = re.fullmatch(r"v?([1-9][0-9]{0,8})", version)
    if match is None:
        raise UsageError(f"{version!r:.40} is no version; they are v1, v2 and so on")
    return int(match[1])


def _name(version: int | None) -> str | None:
    return f"v{version}" if version else None


def _print_publication(what: str, done: Publication, *, markdown: bool, as_json: bool) -> None:
    version, replaces = _name(done.version), _name(done.replaces)
    instead = f", in place of {replaces}" if replaces else ", the first"
    line = {
        "published": f"{what}: published as {version}{instead}",
        "possible": f"{what}: would be published as {version}{instead}",
        "unchanged": f"{what}: is the champion already, as {version}",
        "refused": f"{what}: refused; the champion stays {replaces or 'nobody'}",
    }[done.outcome]
    click.echo(f"\n{escape_markdown(line)}" if markdown else line)
    if as_json:
        summary = done.verdict.summary() if done.verdict else None
        result = {"outcome": done.outcome, "version": version, "replaces": replaces}
        click.echo(json.dumps(result | {"verdict": summary}))


def _cells(state: State, release: Release, until: datetime | None) -> tuple[str, ...]:
    """Return a release's line: version, champion from and to, accuracy, source, verdict, author."""
    accuracy, withdrawn_by = release.bundle.accuracy, state.withdrawn_by(release.bundle)
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
    accuracy = bundle.accuracy
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


def _print_comparison(compared: Comparison, *, as_json: bool) -> None:
    a, b = compared.a.release, compared.b.release
    for side in (compared.a, compared.b):
        low, high = side.accuracy.interval
        click.echo(
            f"{side.release}: {side.accuracy.share:.2%} of {side.accuracy.n:,} test images"
            f" (95% interval {low * 100:.2f}–{high * 100:.2f}), {side.size_bytes / 1000:,.0f} kB"
        )
    points, low, high = (100 * value for value in compared.difference)
    test = compared.test
    click.echo(f"{b} minus {a}: {points:+.2f} points (95% interval {low:+.2f} to {high:+.2f})")
    click.echo(
        f"{test.n01} images only {b} classifies correctly, {test.n10} only {a}; p = {test.p:.2g}"
        " that this is chance alone (exact McNemar)"
    )
    if as_json:
        result: dict[str, object] = {
            name: {
                "version": str(side.release),
                "accuracy": side.accuracy.share,
                "size_bytes": side.size_bytes,
            }
            for name, side in (("a", compared.a), ("b", compared.b))
        }
        result |= {"n": compared.a.accuracy.n} | compared.difference._asdict()
        click.echo(json.dumps(result | {"mcnemar": test._asdict()}))
