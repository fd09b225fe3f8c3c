"""What a tracker is, and all of them together: they listen to a run, and never end one."""

from __future__ import annotations

from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Literal, Protocol

from mnistnet.errors import Interrupted, TrackingError
from mnistnet.text import first_line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from mnistnet.training.recipe import Recipe

Status = Literal["finished", "interrupted", "failed"]


class Tracker(Protocol):
    """A place that people look at runs in; whatever goes wrong there, it raises."""

    name: str
    takes_bundle: bool

    def start(self, name: str, folder: Path, parameters: Mapping[str, Any]) -> None:
        """Begin a run; `folder` is its own, for a tracker that writes files beside it."""

    def measure(self, images: int, metrics: Mapping[str, float]) -> None:
        """Take what was measured after a number of images."""

    def show(self, pictures: Sequence[Path]) -> None:
        """Take a run's PNG files."""

    def conclude(self, images: int, metrics: Mapping[str, float]) -> None:
        """Take what the run came to."""

    def store(self, bundle: Path) -> None:
        """Take the folder of a bundle; asked only where `takes_bundle`."""

    def stop(self, status: Status) -> None:
        """End the run, if one has begun."""


class Trackers:
    """All that listen to a run. One that fails is warned about and left out from then on.

    Args:
        trackers: those who listen; none costs nothing.
        warn: takes a line for people.
    """

    def __init__(self, trackers: Iterable[Tracker], warn: Callable[[str], None]) -> None:
        self._trackers = list(trackers)
        self._warn = warn
        self._proven = False  # a run has begun everywhere
        self._images = 0  # seen when it was last measured

    def __bool__(self) -> bool:
        """Whether anybody listens."""
        return bool(self._trackers)

    @contextmanager
    def following(self, name: str, folder: Path, recipe: Recipe) -> Iterator[None]:
        """Track what happens in the block as one run.

        Raises:
            TrackingError: a tracker cannot begin the first run.
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
            with suppress(KeyboardInterrupt):  # a second one ends the waiting, not the run
                self._tell(lambda tracker: tracker.stop(status))

    def measure(self, line: Mapping[str, Any], **more: float) -> None:
        """Pass on a line of a run's metrics, and what is not written there."""
        metrics = {f"train/{key}": line[key] for key in ("loss", "accuracy")}
        metrics |= {f"train/{key}": value for key, value in more.items()}
        self._images = int(line["images"])
        self._tell(lambda tracker: tracker.measure(self._images, metrics))

    def finish(
        self,
        metrics: Mapping[str, float],
        *,
        pictures: Sequence[Path] = (),
        export: Callable[[Path], object] | None = None,
    ) -> None:
        """Hand over what a run came to.

        Args:
            metrics: the result, by name.
            pictures: PNG files.
            export: writes the run's bundle to a folder; asked only where a tracker takes it.

        Raises:
            Interrupted: by Ctrl-C; what was trained is complete, and must not count as failed.
        """
        try:
            self._tell(lambda tracker: tracker.show(pictures))
            self._tell(lambda tracker: tracker.conclude(self._images, metrics))
            takers = [tracker for tracker in self._trackers if tracker.takes_bundle]
            if export and takers:
                self._store(takers, export)
        except KeyboardInterrupt:
            raise Interrupted("interrupted while being tracked; the run is complete") from None

    def _store(self, takers: Sequence[Tracker], export: Callable[[Path], object]) -> None:
        with TemporaryDirectory(ignore_cleanup_errors=True) as place:
            bundle = Path(place) / "bundle"
            try:
                export(bundle)
            except Exception as error:
                self._warn(f"the bundle was not tracked ({one_line(error)}); the run is complete")
                return
            self._tell(lambda tracker: tracker.store(bundle), takers)

    def _start(self, name: str, folder: Path, parameters: Mapping[str, Any]) -> None:
        for tracker in tuple(self._trackers):
            try:
                tracker.start(name, folder, parameters)
            except Exception as error:
                if not self._proven:
                    raise TrackingError(
                        f"{tracker.name}: cannot begin a run ({one_line(error)});"
                        " check the place, or leave out --tracker"
                    ) from error
                self._leave_out(tracker, error)
        self._proven = True

    def _tell(
        self, act: Callable[[Tracker], None], listeners: Sequence[Tracker] | None = None
    ) -> None:
        for tracker in tuple(self._trackers if listeners is None else listeners):
            try:
                act(tracker)
            except Exception as error:
                self._leave_out(tracker, error)

    def _leave_out(self, tracker: Tracker, error: Exception) -> None:
        self._trackers.remove(tracker)
        self._warn(f"{tracker.name}: no longer tracks ({one_line(error)}); the run goes on")
        with suppress(Exception):  # it may still be able to say that it ended
            tracker.stop("failed")


def one_line(error: Exception) -> str:
    """Put an error of somebody else's into one short line: what the system said, if it did."""
    cause: BaseException | None = error
    while cause:
        if isinstance(cause, OSError) and cause.strerror:
            return cause.strerror
        if isinstance(cause, TimeoutError):
            return "no answer in time"
        cause = cause.__cause__ or cause.__context__
    return first_line(error)
