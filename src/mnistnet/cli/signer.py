"""`--public-key`, or `--identity` and `--identity-provider`: who must have signed a bundle."""

from __future__ import annotations

from functools import wraps
from typing import TYPE_CHECKING, Any

import click

from mnistnet.cli.options import PATH, Command
from mnistnet.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path

    from mnistnet.registry.signature import Signer

PUBLIC_KEY = click.option(
    "--public-key", type=PATH, help="demand that this key's owner has signed it"
)
IDENTITY = click.option(
    "--identity",
    metavar="NAME",
    help="demand that this identity has signed it without a key: a workflow is"
    " https://github.com/OWNER/REPOSITORY/.github/workflows/FILE@refs/heads/BRANCH",
)
PROVIDER = click.option(
    "--identity-provider",
    metavar="URL",
    help="who vouches for the identity; by default GitHub's workflows",
)


def signer_options(command: Command) -> Command:
    """Add these options to a command, and pass it what they mean as `signer`."""

    @wraps(command)
    def called(
        public_key: Path | None, identity: str | None, identity_provider: str | None, **rest: Any
    ) -> Any:
        return command(signer=_signer(public_key, identity, identity_provider), **rest)

    return PUBLIC_KEY(IDENTITY(PROVIDER(called)))


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
