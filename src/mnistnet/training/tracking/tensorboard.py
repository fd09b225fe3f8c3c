"""Track a run in TensorBoard: scalars, pictures, parameters, and a row in its HParams table.

Written with torch's SummaryWriter, which needs only the `tensorboard` that displays the files:
TensorBoard's own writer is experimental and knows scalars only, and tensorboardX would be one
more package for the same bytes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mnistnet.extras import import_extra

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from mnistnet.training.tracking.trackers import Status


class TensorBoard:
    """Event files in the run's folder; shown by `tensorboard --logdir runs`."""

    name = "tensorboard"
    stores_bundles = False  # it has no artifacts

    def __init__(self) -> None:
        import_extra("track", "tensorboard", "torch.utils.tensorboard")
        self._writer: Any = None
        self._images = 0  # the last step that was written
        self._parameters: dict[str, Any] = {}

    def start(self, name: str, folder: Path, parameters: Mapping[str, Any]) -> None:  # noqa: ARG002
        """Open an event file in the folder; events of an interrupted attempt are discarded."""
        from torch.utils.tensorboard import SummaryWriter

        self._parameters, self._images = dict(parameters), 0
        self._writer = SummaryWriter(str(folder), purge_step=0)
        rows = [f"| {field} | {value} |" for field, value in parameters.items()]
        self._writer.add_text("parameters", "\n".join(["| field | value |", "|---|---|", *rows]))

    def log_metrics(self, images: int, metrics: Mapping[str, float]) -> None:
        """Write scalars."""
        self._images = images
        for key, value in metrics.items():
            self._writer.add_scalar(key, value, images)
        self._writer.flush()

    def log_pictures(self, pictures: Sequence[Path]) -> None:
        """Write the pictures as images."""
        import numpy as np
        from PIL import Image

        for picture in pictures:
            with Image.open(picture) as image:
                pixels = np.asarray(image.convert("RGB"))  # (H, W, 3)
            self._writer.add_image(picture.stem, pixels, dataformats="HWC")

    def log_result(self, images: int, metrics: Mapping[str, float]) -> None:
        """Write the result with the parameters, for the HParams table.

        This opens a second event file, after which TensorBoard does not read the first again.
        """
        self._writer.add_text("status", "finished", images)
        self._writer.flush()
        self._writer.add_hparams(
            self._parameters, dict(metrics), run_name=".", global_step=images
        )  # "." is the run itself; without a name it would be a run of its own

    def log_bundle(self, bundle: Path) -> None:
        """Do nothing, see `stores_bundles`."""

    def stop(self, status: Status) -> None:
        """Close the file, with the status if the run was not finished."""
        if self._writer is None:
            return
        writer, self._writer = self._writer, None
        if status != "finished":
            writer.add_text("status", status, self._images)
        writer.close()
