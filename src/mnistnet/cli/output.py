"""How verbs print: JSON, tables, errors, and how far long work is."""

from __future__ import annotations

import json
import logging
import sys
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mnistnet.text import printable, table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mnistnet.evaluation import measures
    from mnistnet.training import fit


def print_json(document: object) -> None:
    """Print one JSON object on a line; dataclasses become objects, paths text."""
    click.echo(json.dumps(document, default=_plain))


def _plain(value: object) -> object:
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"{value!r} has no form in JSON")


def print_line(line: str, *, err: bool = False) -> None:
    """Print one line, whatever the names in it hold; on stderr if `err`."""
    click.echo(printable(line), err=err)


def print_table(rows: Sequence[Sequence[str]]) -> None:
    """Print rows of cells in aligned columns."""
    for line in table(rows):
        print_line(line)


def print_error(message: object) -> None:
    """Print a line on stderr, with the program's name."""
    print_line(f"mnistnet: {message}", err=True)


class Bar(logging.Handler):
    """A live bar on stderr where that is a terminal, for one part of the work after the other.

    The package's log messages are printed above it.
    """

    def __init__(self) -> None:
        super().__init__()
        self._start("", 1.0)

    def __enter__(self) -> Bar:
        logging.getLogger("mnistnet").addHandler(self)
        return self

    def __exit__(self, *_: object) -> None:
        logging.getLogger("mnistnet").removeHandler(self)
        self._bar.close()

    def emit(self, record: logging.LogRecord) -> None:
        """Print a log message without breaking the bar."""
        self._bar.write(printable(record.getMessage()), file=sys.stderr)

    def show_training(self, progress: fit.Progress) -> None:
        """Print a line of loss and accuracy, everywhere, and move the bar."""
        several = progress.networks > 1
        network = f"Network: {progress.network} of {progress.networks}, " if several else ""
        epoch = f"Epoch: {progress.epoch}, " if progress.epochs > 1 else ""
        so_far = f"Loss: {progress.loss:.4f}, Accuracy: {progress.accuracy:.2%}"
        self._bar.write(f"{network}{epoch}Batch: {progress.batch}, {so_far}")
        self._bar.update(progress.fraction - self._bar.n)
        self._bar.set_postfix_str(f"{progress.images_per_s:,.0f} images/s")

    def show_evaluation(self, progress: measures.Progress) -> None:
        """Move the bar of a part of the evaluation; without a terminal, name each part once."""
        if progress.what != self._part:
            self._bar.close()
            self._start(progress.what, progress.total)
            if not sys.stderr.isatty():
                print_line(f"{progress.what} …", err=True)
        self._bar.update(progress.done - self._bar.n)

    def _start(self, part: str, total: float) -> None:
        from tqdm import tqdm

        self._part = part
        self._bar = tqdm(
            total=total,
            desc=printable(part),
            disable=None,
            leave=False,
            bar_format="{l_bar}{bar}| {elapsed}<{remaining}{postfix}",
        )
