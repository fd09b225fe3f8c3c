"""`mnistnet publish`, `history`, `rollback`, `pull`, `diff`: models in a git branch."""

from __future__ import annotations

import json
import re
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from mnistnet.cli.options import DATA, JSON, MARKDOWN, PATH, RULES, registry_options
from mnistnet.cli.signer import demanding_signer
from mnistnet.errors import UsageError
from mnistnet.text import escape_markdown, table

if TYPE_CHECKING:
    from pathlib import Path

    from mnistnet.registry.publish import Publication
    from mnistnet.registry.published import Comparison
    from mnistnet.registry.release import Accuracy, Release
    from mnistnet.registry.signature import Identity
    from mnistnet.registry.state import State

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
    """Make a bundle the champion, if it passes the gate beside the champion of now.

    Exits with 0 if it is, with 1 if the gate refuses it.
    """
    from mnistnet.gate.measure import gate
    from mnistnet.registry.publish import publish

    done = publish(
        bundle,
        remote=remote,
        branch=branch,
        gate=partial(gate, rules=rules, data=data),
        reinstate=reinstate,
        dry_run=dry_run,
        say=_say_in_markdown if markdown else _say,
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
    done = rollback(number, remote=remote, branch=branch, dry_run=dry_run, say=_say)
    _print_publication(f"v{number}'s bundle", done, markdown=False, as_json=as_json)


@click.command()
@registry_options
@JSON
def history(remote: str, branch: str, as_json: bool) -> None:
    """List what was published: when, from which source, how good, by whom, and the champion (*)."""
    from mnistnet.registry.published import history

    state = history(remote=remote, branch=branch)
    if as_json:
        champion = state.champion.name if state.champion else None
        releases = [_as_json(state, i) for i in range(len(state.releases))]
        click.echo(json.dumps({"champion": champion, "releases": releases}))
    elif not state.releases:
        click.echo(f"nothing is published yet on branch {branch}; mnistnet publish does it")
    else:
        click.echo("\n".join(table([_row(state, i) for i in range(len(state.releases))][::-1])))


@click.command()
@click.argument("version", metavar="[vN]", required=False)
@click.option("-o", "--out", type=PATH, required=True, help="the bundle's folder")
@demanding_signer
@registry_options
def pull(
    version: str | None, out: Path, signer: Path | Identity | None, remote: str, branch: str
) -> None:
    """Write the champion's bundle, or vN's, to a folder, and verify it."""
    from mnistnet.registry.published import pull
    from mnistnet.registry.signature import who

    number = _number(version) if version else None
    release = pull(number, out, remote=remote, branch=branch, signer=signer)
    whose = f", signed by {who(signer)}" if signer else ""
    click.echo(f"{out}: {release.name}, verified{whose}")


@click.command()
@click.argument("a", metavar="vA")
@click.argument("b", metavar="vB")
@registry_options
@DATA
@JSON
def diff(a: str, b: str, remote: str, branch: str, data: Path | None, as_json: bool) -> None:
    """Compare two versions on the same test images: B's accuracy minus A's."""
    from mnistnet.registry.published import diff

    compared = diff(_number(a), _number(b), remote=remote, branch=branch, data=data, say=_say)
    _print_comparison(compared)
    if as_json:
        click.echo(json.dumps(_comparison_as_json(compared)))


def _say(line: str) -> None:
    click.echo(f"… {line}", err=True)


def _say_in_markdown(line: str) -> None:
    click.echo(f"… {escape_markdown(line)}\n", err=True)  # a paragraph of its own


def _number(version: str) -> int:
    match = re.fullmatch(r"v?([1-9][0-9]{0,8})", version)
    if match is None:
        raise UsageError(f"{version!r:.40} is no version; they are v1, v2 and so on")
    return int(match[1])


def _print_publication(what: str, done: Publication, *, markdown: bool, as_json: bool) -> None:
    replaces = done.replaces.name if done.replaces else None
    instead = f", in place of {replaces}" if replaces else ", the first"
    line = {
        "published": f"{what}: published as v{done.version}{instead}",
        "possible": f"{what}: would be published as v{done.version}{instead}",
        "unchanged": f"{what}: is the champion already, as v{done.version}",
        "refused": f"{what}: refused; the champion stays {replaces or 'nobody'}",
    }[done.outcome]
    click.echo(f"\n{escape_markdown(line)}" if markdown else line)
    if as_json:
        version = f"v{done.version}" if done.version else None
        summary = done.verdict.summary() if done.verdict else None
        result = {"outcome": done.outcome, "version": version, "replaces": replaces}
        click.echo(json.dumps(result | {"verdict": summary}))


def _row(state: State, i: int) -> tuple[str, ...]:
    """Give a release's line: version, champion from and to, accuracy, source, verdict, who."""
    release = state.releases[i]
    until = state.releases[i + 1].when if i + 1 < len(state.releases) else None
    return (
        ("  " if until else "* ") + release.name,
        f"{release.when:%Y-%m-%d %H:%M} – {f'{until:%Y-%m-%d %H:%M}' if until else 'now'}",
        _accuracy(release.facts.accuracy),
        (release.facts.source or "unknown")[:12],
        _verdict(state, release),
        release.who,
    )


def _accuracy(accuracy: Accuracy | None) -> str:
    if accuracy is None:
        return "unknown"
    low, high = accuracy.interval
    return f"{accuracy.share:.2%} ({low * 100:.2f}–{high * 100:.2f})"


def _verdict(state: State, release: Release) -> str:
    withdrawn_by = state.withdrawn_by(release.facts)
    return release.notes.verdict + (f"; withdrawn by {withdrawn_by.name}" if withdrawn_by else "")


def _as_json(state: State, i: int) -> dict[str, Any]:
    release, notes = state.releases[i], state.releases[i].notes
    until = state.releases[i + 1].when.isoformat() if i + 1 < len(state.releases) else None
    withdrawn_by = state.withdrawn_by(release.facts)
    accuracy = release.facts.accuracy
    low, high = accuracy.interval if accuracy else (None, None)
    return {
        "version": release.name,
        "commit": release.commit,
        "champion_from": release.when.isoformat(),
        "champion_until": until,
        "who": release.who,
        "replaces": f"v{notes.replaces[0]}" if notes.replaces else None,
        "rollback_to": f"v{notes.rollback_to}" if notes.rollback_to else None,
        "verdict": notes.verdict,
        "withdrawn_by": withdrawn_by.name if withdrawn_by else None,
        "accuracy": accuracy.share if accuracy else None,
        "accuracy_low": low,
        "accuracy_high": high,
        "n": accuracy.n if accuracy else None,
        "judged_on": accuracy.judged_on if accuracy else None,
        "source_commit": release.facts.source,
        "bundle_sha256": release.facts.bundle_sha256,
        "model_sha256": release.facts.model_sha256,
    }


def _print_comparison(compared: Comparison) -> None:
    for side in (compared.a, compared.b):
        low, high = side.interval
        click.echo(
            f"{side.release.name}: {side.correct / compared.n:.2%} of {compared.n:,} test images"
            f" (95% interval {low * 100:.2f}–{high * 100:.2f}), {side.size_bytes / 1000:,.0f} kB"
        )
    a, b = compared.a.release.name, compared.b.release.name
    points, low, high = (100 * value for value in compared.difference)
    test = compared.test
    click.echo(f"{b} minus {a}: {points:+.2f} points (95% interval {low:+.2f} to {high:+.2f})")
    click.echo(
        f"{test.n01} images only {b} reads rightly, {test.n10} only {a}; p = {test.p:.2g}"
        " that this is luck alone (exact McNemar)"
    )


def _comparison_as_json(compared: Comparison) -> dict[str, Any]:
    sides = {
        name: {
            "version": side.release.name,
            "accuracy": side.correct / compared.n,
            "size_bytes": side.size_bytes,
        }
        for name, side in (("a", compared.a), ("b", compared.b))
    }
    difference = compared.difference._asdict()
    return {**sides, "n": compared.n, **difference, "mcnemar": compared.test._asdict()}
