"""The interface of a tracker, and a group of trackers whose failures never end a run."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, Protocol

from mnistnet.errors import Interrupted, TrackingError
from mnistnet.files import scratch_folder
from mnistnet.text import first_line

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from mnistnet.training.recipe import Recipe
    from mnistnet.training.runs import Measurement

Export = Callable[..., object]  # (run's folder, bundle's folder, data=the data set's path)
Status = Literal["finished", "interrupted", "failed"]


class Tracker(Protocol):
    """A place where people look at runs. Methods raise whatever goes wrong there."""

    name: str
    stores_bundles: bool

    def start(self, name: str, folder: Path, parameters: Mapping[str, Any]) -> None:
        """Start a run; `folder` is the run's, for a tracker that writes its files there."""

    def log_metrics(self, images: int, metrics: Mapping[str, float]) -> None:
        """Log metrics by name, after a number of images."""

    def log_pictures(self, pictures: Sequence[Path]) -> None:
        """Log a run's PNG files."""

    def log_result(self, images: int, metrics: Mapping[str, float]) -> None:
        """Log the final metrics by name."""

    def log_bundle(self, bundle: Path) -> None:
        """Store a bundle's folder, if it `stores_bundles`."""

    def stop(self, status: Status) -> None:
        """End the run, if one was started."""


class Trackers:
    """All trackers of a command. One that fails is reported once and dropped.

    Args:
        trackers: may be empty, which costs nothing.
        warn: prints a line.
        export: writes a run as a bundle, for trackers that store bundles.
    """

    def __init__(
        self,
        trackers: Iterable[Tracker],
        warn: Callable[[str], None],
        export: Export | None = None,
    ) -> None:
        self._trackers = list(trackers)
        self._warn, self._export = warn, export
        self._started_before = False  # every tracker has started a run
        self._images = 0  # trained on when metrics were last logged

    def __bool__(self) -> bool:
        """Whether there is any tracker."""
        return bool(self._trackers)

    @contextmanager
    def tracking(self, name: str, folder: Path, recipe: Recipe) -> Iterator[None]:
        """Track what happens in the block as one run.

        Raises:
            TrackingError: a tracker cannot start the first run.
        """
        status: Status = "failed"
        self._images = 0
        try:
            self._start(name, folder, recipe.as_dict())
            yield
            status = "finished"
        except (KeyboardInterrupt, Interrupted):
            status = "interrupted"
            raise
        finally:
            with suppress(KeyboardInterrupt):  # a second Ctrl-C ends the waiting, not the run
                self._for_each(lambda tracker: tracker.stop(status))

    def log_line(self, line: Measurement, **more: float) -> None:
        """Log a line of a run's metrics, and further figures that are not written there."""
        metrics = {"train/loss": line.loss, "train/accuracy": line.accuracy}
        metrics |= {f"train/{key}": value for key, value in more.items()}
        self._images = line.images
        self._for_each(lambda tracker: tracker.log_metrics(self._images, metrics))

    def log_result(
        self,
        metrics: Mapping[str, float],
        *,
        run: Path | None = None,
        data: Path | None = None,
    ) -> None:
        """Log what a finished run gave.

        Args:
            metrics: the result, by name.
            run: the run's folder, for its pictures and its bundle; None: it has neither.
            data: the data set that the run was trained on.

        Raises:
            Interrupted: by Ctrl-C; the run is complete, and must not count as failed.
        """
        pictures = sorted(run.glob("*.png")) if run else []
        try:
            self._for_each(lambda tracker: tracker.log_pictures(pictures))
            self._for_each(lambda tracker: tracker.log_result(self._images, metrics))
            if run and self._export and any(tracker.stores_bundles for tracker in self._trackers):
                self._log_bundle(partial(self._export, run, data=data))
        except KeyboardInterrupt:
            raise Interrupted("interrupted while being tracked; the run is complete") from None

    def _log_bundle(self, export: Callable[[Path], object]) -> None:
        with scratch_folder() as scratch:
            bundle = scratch / "bundle"
            try:
                export(bundle)
            except Exception as error:
                self._warn(f"the bundle was not tracked ({one_line(error)}); the run is complete")
                return
            self._for_each(lambda tracker: tracker.log_bundle(bundle))

    def _start(self, name: str, folder: Path, parameters: Mapping[str, Any]) -> None:
        for tracker in tuple(self._trackers):
            try:
                tracker.start(name, folder, parameters)
            except Exception as error:
                if not self._started_before:
                    raise TrackingError(
                        f"{tracker.name}: cannot start a run ({one_line(error)});"
                        " check the place, or leave out --tracker"
                    ) from error
                self._drop(tracker, error)
        self._started_before = True

    def _for_each(self, call: Callable[[Tracker], None]) -> None:
        for tracker in tuple(self._trackers):
            try:
                call(tracker)
            except Exception as error:
                self._drop(tracker, error)

    def _drop(self, tracker: Tracker, error: Exception) -> None:
        self._trackers.remove(tracker)
        self._warn(f"{tracker.name}: no longer tracks ({one_line(error)}); the run goes on")
        with suppress(Exception):  # it may still be able to record the run's end
            tracker.stop("failed")


def one_line(error: Exception) -> str:
    """Reduce a library's error to one short line: the operating system's reason, if it has one."""
    cause: BaseException | None = error
    while cause:
        if isinstance(cause, OSError) and cause.strerror:
            return cause.strerror
        if isinstance(cause, TimeoutError):
            return "no answer in time"
        cause = cause.__cause__ or cause.__context__
    return first_line(error)
