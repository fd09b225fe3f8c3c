"""How long work is shown: a live bar on a terminal, plain lines everywhere."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mnistnet.training.loop import Progress


class Bar:
    """A live bar on a terminal, the course's progress lines everywhere."""

    def __init__(self) -> None:
        from tqdm import tqdm

        self._tqdm = tqdm
        self._bar = tqdm(
            total=1.0,
            disable=None,
            leave=False,
            bar_format="{l_bar}{bar}| {elapsed}<{remaining}{postfix}",
        )

    def __enter__(self) -> Bar:
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.close()

    def show(self, progress: Progress) -> None:
        """Print a line, and move the bar to where the run stands."""
        several = progress.networks > 1
        network = f"Network: {progress.network} of {progress.networks}, " if several else ""
        epoch = f"Epoch: {progress.epoch}, " if progress.epochs > 1 else ""
        so_far = f"Loss: {progress.loss:.4f}, Accuracy: {progress.accuracy:.2%}"
        self._tqdm.write(f"{network}{epoch}Batch: {progress.batch}, {so_far}")
        self._bar.n = progress.fraction
        self._bar.set_postfix_str(f"{progress.images_per_s:,.0f} images/s")
