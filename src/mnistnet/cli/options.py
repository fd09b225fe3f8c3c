"""The options that several verbs share, each defined once.

    @click.command()
    @BUNDLE
    @DATA
    @JSON
    def verb(bundle: Path, as_json: bool, **options: Any) -> None: ...

A verb names the parameters that it reads itself. The others go as `**options` to the function that
does the work, whose parameters have the same names. What only one verb takes stands above it.
"""

from __future__ import annotations

import re
import shlex
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from mnistnet.errors import UsageError
from mnistnet.text import without_password

if TYPE_CHECKING:
    from collections.abc import Collection

    from mnistnet.registry.signature import Signer

PATH = click.Path(path_type=Path)

BUNDLE = click.argument("bundle", type=PATH)
OUT = click.option("-o", "--out", type=PATH, required=True, help="the bundle's folder")
DATA = click.option("--data", type=PATH, help="a data set: a folder of IDX files, or an .npz")
RUNS = click.option(
    "--runs", type=PATH, default=Path("runs"), show_default=True, help="the folder of all runs"
)
RULES = click.option(
    "--rules", type=PATH, help="the gate's limits; by default gates.toml, where there is one"
)
JSON = click.option("--json", "as_json", is_flag=True, help="end with one JSON object")
MARKDOWN = click.option(
    "--markdown", is_flag=True, help="print Markdown, for a job's summary or a comment"
)
DRY_RUN = click.option("--dry-run", is_flag=True, help="do everything but publish")
_REMOTE = click.option(
    "--remote", default="origin", show_default=True, help="a remote of this clone, or a URL or path"
)
BRANCH = click.option(
    "--branch", default="models", show_default=True, help="the branch of the published models"
)
_PUBLIC_KEY = click.option("--public-key", type=PATH, help="demand a signature by this key's owner")
_IDENTITY = click.option(
    "--identity",
    metavar="NAME",
    help="demand a keyless signature by this identity; a workflow's is"
    " https://github.com/OWNER/REPOSITORY/.github/workflows/FILE@refs/heads/BRANCH",
)
_PROVIDER = click.option(
    "--identity-provider",
    metavar="URL",
    help="who vouches for the identity; by default GitHub's workflows",
)

Command = Any  # what click's decorators take and return


def registry_options(command: Command) -> Command:
    """Add `--remote` and `--branch` to a command that reads or writes published models."""
    return _REMOTE(BRANCH(command))


def signer_options(command: Command) -> Command:
    """Add the options that demand a signer to a command, and pass it what they mean as `signer`."""

    @wraps(command)
    def called(
        public_key: Path | None, identity: str | None, identity_provider: str | None, **rest: Any
    ) -> Any:
        return command(signer=_signer(public_key, identity, identity_provider), **rest)

    return _PUBLIC_KEY(_IDENTITY(_PROVIDER(called)))


def repeated_command(*words: str, without: Collection[str]) -> str:
    """Return the command that is running, as it was given, for a shell.

    Args:
        words: added to it.
        without: parameters that are left out. User and password of an address are, too.
    """
    context = click.get_current_context()
    again = ["mnistnet", str(context.info_name), *words]
    for option in context.command.params:
        name, flag = str(option.name), option.opts[0]
        given = context.get_parameter_source(name) is ParameterSource.COMMANDLINE
        if given and name not in without:
            value = context.params[name]
            for one in value if option.multiple else (value,):
                again += [flag] if one is True else [flag, without_password(str(one))]
    return shlex.join(again)


def version_number(text: str) -> int:
    """Return 3 for `v3` or `3`, as an argument's type."""
    match = re.fullmatch(r"v?([1-9][0-9]{0,8})", text)
    if match is None:
        raise UsageError(f"{text!r:.40} is no version; they are v1, v2 and so on")
    return int(match[1])


def _signer(public_key: Path | None, identity: str | None, provider: str | None) -> Signer | None:
    from mnistnet.registry.signature import Identity

    if identity == "" or provider == "":  # an unset variable must not demand nothing
        raise UsageError("--identity, or its provider, is empty; name it, or demand no signer")
    if public_key and identity:
        raise UsageError("--public-key and --identity: a bundle has one signature; name one signer")
    if provider and not identity:
        raise UsageError("--identity-provider: vouches for an --identity; name that too")
    if not identity:
        return public_key
    return Identity(identity, provider) if provider else Identity(identity)
