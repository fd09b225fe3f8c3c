"""`mnistnet`: words in, a pipeline function called, words out.

Each verb imports what it needs inside its own function, so that `mnistnet predict` does not wait
for torch, and `mnistnet --help` waits for nothing.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, NoReturn

import click

from mnistnet import __version__
from mnistnet.errors import Interrupted, MnistNetError
from mnistnet.text import printable

if TYPE_CHECKING:
    from collections.abc import Sequence

VERBS = {  # verb → the module and command that hold it, imported when it is called
    "train": "mnistnet.cli.train:train",
    "trials": "mnistnet.cli.train:trials",
    "summary": "mnistnet.cli.train:summary",
    "export": "mnistnet.cli.bundle:export",
    "verify": "mnistnet.cli.bundle:verify",
    "sign": "mnistnet.cli.provenance:sign",
    "fingerprint": "mnistnet.cli.provenance:fingerprint",
    "reproduce": "mnistnet.cli.provenance:reproduce",
    "gate": "mnistnet.cli.gate:gate",
    "publish": "mnistnet.cli.registry:publish",
    "history": "mnistnet.cli.registry:history",
    "rollback": "mnistnet.cli.registry:rollback",
    "pull": "mnistnet.cli.registry:pull",
    "diff": "mnistnet.cli.registry:diff",
    "eval": "mnistnet.cli.eval:evaluate",
    "predict": "mnistnet.cli.predict:predict",
    "data": "mnistnet.cli.data:data",
}


class _Verbs(click.Group):
    """A group whose commands are imported only when they are called or listed."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        from importlib import import_module

        if cmd_name not in VERBS:
            return None
        module, name = VERBS[cmd_name].split(":")
        command: click.Command = getattr(import_module(module), name)
        return command


@click.group(cls=_Verbs)
@click.version_option(__version__, message="mnistnet %(version)s")
def cli() -> None:
    """Train, prove, ship and run a 20,826-parameter network that reads handwritten digits."""


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and exit: 0 done, 1 some failed, 2 bad input, 130 interrupted."""
    for stream in (sys.stdout, sys.stderr):  # a Windows console may not know → or –
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
    try:
        code = cli(list(arguments) if arguments is not None else None, standalone_mode=False)
    except MnistNetError as error:
        click.echo(f"mnistnet: {printable(str(error))}", err=True)
        code = 130 if isinstance(error, Interrupted) else 2
    except click.ClickException as error:
        error.show()
        code = error.exit_code
    except (KeyboardInterrupt, click.Abort):
        code = 130
    except BrokenPipeError:  # the reader, `head` say, has what it wanted
        sys.stderr.close()
        code = 0
    except OSError as error:  # the disk that the output goes to is full, say
        click.echo(f"mnistnet: {printable(str(error))}", err=True)
        code = 2
    sys.exit(code if isinstance(code, int) else 0)
