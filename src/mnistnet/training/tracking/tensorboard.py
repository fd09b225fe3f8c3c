"""A run in TensorBoard: curves, pictures, parameters, and a row in the table of all runs.

Written with torch's own SummaryWriter, which needs no more than the `tensorboard` that one looks
with: its own writer is marked experimental and knows scalars only, and tensorboardX would be a
package more for the same bytes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mnistnet.extras import import_extra

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from mnistnet.training.tracking.trackers import Status


class TensorBoard:
    """Event files in the run's own folder; look with `tensorboard --logdir runs`."""

    name = "tensorboard"
    takes_bundle = False  # it has no artifacts

    def __init__(self) -> None:
        import_extra("track", "tensorboard", "torch.utils.tensorboard")
        self._writer: Any = None
        self._images = 0  # the last step that was written
        self._parameters: dict[str, Any] = {}

    def start(self, name: str, folder: Path, parameters: Mapping[str, Any]) -> None:  # noqa: ARG002
        """Open the folder's event file; what an interrupted run left there no longer counts."""
        from torch.utils.tensorboard import SummaryWriter

        self._parameters, self._images = dict(parameters), 0
        self._writer = SummaryWriter(str(folder), purge_step=0)
        rows = [f"| {field} | {value} |" for field, value in parameters.items()]
        self._writer.add_text("parameters", "\n".join(["| field | value |", "|---|---|", *rows]))

    def measure(self, images: int, metrics: Mapping[str, float]) -> None:
        """Write a point of each curve."""
        self._images = images
        for key, value in metrics.items():
            self._writer.add_scalar(key, value, images)
        self._writer.flush()

    def show(self, pictures: Sequence[Path]) -> None:
        """Write the pictures as images."""
        import numpy as np
        from PIL import Image

        for picture in pictures:
            with Image.open(picture) as image:
                pixels = np.asarray(image.convert("RGB"))  # (H, W, 3)
            self._writer.add_image(picture.stem, pixels, dataformats="HWC")

    def conclude(self, images: int, metrics: Mapping[str, float]) -> None:
        """Write the result with the parameters, for the table of all runs.

        This opens a second event file, beyond which TensorBoard does not look at the first again.
        """
        self._writer.add_text("status", "finished", images)
        self._writer.flush()
        self._writer.add_hparams(
            self._parameters, dict(metrics), run_name=".", global_step=images
        )  # "." is the run itself; without a name it would be a run of its own

    def store(self, bundle: Path) -> None:
        """Not asked: see `takes_bundle`."""

    def stop(self, status: Status) -> None:
        """Close the file, saying why if the run was not finished."""
        if self._writer is None:
            return
        writer, self._writer = self._writer, None
        if status != "finished":
            writer.add_text("status", status, self._images)
        writer.close()
