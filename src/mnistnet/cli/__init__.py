"""`mnistnet`: reads the arguments, calls one function of the package, prints what it returns.

Each verb imports what it needs inside its own function, so that `mnistnet predict` does not wait
for torch; and `mnistnet --help` imports no verb at all.
"""

from __future__ import annotations

import gc
import os
import sys
from importlib import import_module
from typing import TYPE_CHECKING, NoReturn

import click

from mnistnet import __version__
from mnistnet.errors import Interrupted, MnistNetError, UsageError
from mnistnet.text import printable

if TYPE_CHECKING:
    from collections.abc import Sequence

# Group → verb → the module that holds it (below mnistnet.cli), its function, its line of help.
GROUPS: dict[str, dict[str, tuple[str, str, str]]] = {
    "Train": {
        "train": ("train", "train", "train the network, into runs/<name>/"),
        "trials": ("train", "trials", "train with several seeds: mean accuracy and its interval"),
        "summary": ("train", "summary", "print the layers: shapes, parameters, multiply-adds"),
        "data": ("train", "data", "list or verify the data sets on this machine"),
    },
    "Use": {
        "predict": ("predict", "predict", "read digits from pictures"),
        "serve": ("serve", "serve", "serve the model over HTTP"),
        "site": ("serve", "site", "write the page to draw on as a static site"),
        "eval": ("bundle", "evaluate", "evaluate a bundle or a run, and write a report"),
        "export": ("bundle", "export", "write a finished run as a bundle"),
        "verify": ("bundle", "verify", "check a bundle: hashes, graphs, signature"),
    },
    "Release": {
        "gate": ("bundle", "gate", "check a bundle against the rules in gates.toml"),
        "publish": ("registry", "publish", "release a bundle, if it passes the gate"),
        "history": ("registry", "history", "list all releases"),
        "rollback": ("registry", "rollback", "release an earlier version again"),
        "pull": ("registry", "pull", "write a released bundle to a folder"),
        "diff": ("registry", "diff", "compare two releases on the same test images"),
        "sign": ("bundle", "sign", "sign a bundle"),
        "fingerprint": ("provenance", "fingerprint", "hash all that the weights depend on"),
        "reproduce": ("provenance", "reproduce", "train a bundle again and compare the weights"),
    },
}
VERBS = {verb: entry for group in GROUPS.values() for verb, entry in group.items()}


class _Verbs(click.Group):
    """A group whose commands are imported only when they are called."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in VERBS:
            return None
        module, function, _ = VERBS[cmd_name]
        command: click.Command = getattr(import_module(f"mnistnet.cli.{module}"), function)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        width = max(map(len, VERBS))
        for title, group in GROUPS.items():
            with formatter.section(title):
                rows = [(verb.ljust(width), line) for verb, (_, _, line) in group.items()]
                formatter.write_dl(rows)


@click.group(cls=_Verbs)
@click.version_option(__version__, message="mnistnet %(version)s")
def cli() -> None:
    """Train, evaluate, use and release a 20,826-parameter network that reads handwritten digits."""


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and exit: 0 done, 1 some failed, 2 bad input, 130 interrupted."""
    for stream in (sys.stdout, sys.stderr):  # a Windows console may not know → or –
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
    # NumPy, imported later, has small matrices only, and its threads would spin next to training's.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    words = sys.argv[1:] if arguments is None else list(arguments)
    try:
        for word in words:
            if not _is_usable(word):
                raise UsageError(f"{word!r} holds a NUL or half a character; no name does")
        code = cli(words, standalone_mode=False)
    except BrokenPipeError:  # the reader, `head` for example, has closed it
        sys.stderr.close()
        code = 0
    except (MnistNetError, OSError) as error:  # OSError: the output's disk is full, for example
        click.echo(f"mnistnet: {printable(str(error))}", err=True)
        code = 130 if isinstance(error, Interrupted) else 2
    except click.ClickException as error:
        error.show()
        code = error.exit_code
    except (KeyboardInterrupt, click.Abort):
        click.echo("mnistnet: interrupted", err=True)
        code = 130
    gc.freeze()  # or Python would look for garbage before it ends: 28 ms
    sys.exit(code if isinstance(code, int) else 0)


def _is_usable(word: str) -> bool:
    """Whether the operating system can take an argument."""
    try:
        return b"\0" not in os.fsencode(word)
    except UnicodeEncodeError:
        return False
