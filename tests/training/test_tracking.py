"""Runs are tracked completely, and a tracker that fails never harms a run."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from mnistnet.errors import Interrupted, MissingError, TrackingError, UsageError
from mnistnet.training.fit import Progress
from mnistnet.training.recipe import Recipe
from mnistnet.training.runs import Measurement
from mnistnet.training.tracking import Trackers, open_trackers
from mnistnet.training.train import resume, train
from mnistnet.training.trials import trials

TWO_EPOCHS = Recipe(epochs=2, batch_size=50, threads=1)
LINE = Measurement(network=1, epoch=1, batch=1, batches=1, images=600, loss=0.5, accuracy=0.75)


class FakeTracker:
    """Records every call, folders as their files' names, and raises in one of them."""

    name = "fake"
    stores_bundles = True

    def __init__(self, fails_at: str = "", error: type[BaseException] = OSError) -> None:
        self.calls: list[tuple[Any, ...]] = []
        self.fails_at, self.error = fails_at, error

    def __getattr__(self, method: str) -> Callable[..., None]:
        def record(*arguments: Any) -> None:
            self.calls.append((method, *map(_file_names, arguments)))
            if method == self.fails_at:
                raise self.error("the tracker broke")

        return record


def _file_names(argument: Any) -> Any:
    if isinstance(argument, Path):
        return [path.name for path in argument.iterdir()]
    return argument


def _export(run: Path, bundle: Path, *, data: Path | None) -> None:
    bundle.mkdir()
    (bundle / f"{run.name} of {data}").write_text("{}", encoding="utf-8")


def _track_a_run(trackers: Trackers, folder: Path) -> None:
    with trackers.tracking("run-1", folder, Recipe()):
        trackers.log_line(LINE, images_per_s=1000.0)
        trackers.log_result({"test/accuracy": 0.9}, run=folder, data=Path("mnist"))


def test_a_tracker_receives_a_run_from_its_recipe_to_its_bundle(tmp_path: Path) -> None:
    tracker = FakeTracker()
    _track_a_run(Trackers([tracker], pytest.fail, _export), tmp_path)
    metrics = {"train/loss": 0.5, "train/accuracy": 0.75, "train/images_per_s": 1000.0}
    assert tracker.calls == [
        ("start", "run-1", [], Recipe().as_dict()),
        ("log_metrics", 600, metrics),
        ("log_pictures", []),
        ("log_result", 600, {"test/accuracy": 0.9}),
        ("log_bundle", [f"{tmp_path.name} of mnist"]),
        ("stop", "finished"),
    ]


CALLS = ["start", "log_metrics", "log_pictures", "log_result", "log_bundle", "stop"]


@pytest.mark.parametrize("failing", CALLS[1:])
def test_a_tracker_that_fails_is_reported_once_and_dropped_and_the_others_receive_all(
    failing: str, tmp_path: Path
) -> None:
    broken, working, warnings = FakeTracker(failing), FakeTracker(), list[str]()
    _track_a_run(Trackers([broken, working], warnings.append, _export), tmp_path)
    assert warnings == ["fake: no longer tracks (the tracker broke); the run goes on"]
    assert [call[0] for call in working.calls] == CALLS
    calls = [call[0] for call in broken.calls]
    assert calls[calls.index(failing) :] == [failing, "stop"]
    assert broken.calls[-1] == ("stop", "failed")


def test_a_tracker_that_cannot_start_is_an_error_only_before_the_first_run(tmp_path: Path) -> None:
    with pytest.raises(TrackingError, match=r"fake: cannot start a run \(the tracker broke\)"):
        _track_a_run(Trackers([FakeTracker("start")], pytest.fail), tmp_path)
    later, warnings = FakeTracker(), list[str]()
    trackers = Trackers([later], warnings.append)
    _track_a_run(trackers, tmp_path)
    later.fails_at = "start"
    _track_a_run(trackers, tmp_path)
    assert len(warnings) == 1
    assert not trackers


def test_a_bundle_that_cannot_be_made_is_a_warning(tmp_path: Path) -> None:
    def export(run: Path, bundle: Path, *, data: Path | None) -> None:
        raise OSError(28, "No space left on device", f"{run} {bundle} {data}")

    tracker, warnings = FakeTracker(), list[str]()
    _track_a_run(Trackers([tracker], warnings.append, export), tmp_path)
    assert warnings == ["the bundle was not tracked (No space left on device); the run is complete"]
    assert tracker.calls[-1] == ("stop", "finished")


@pytest.mark.parametrize(
    ("error", "status"),
    [(KeyboardInterrupt, "interrupted"), (Interrupted, "interrupted"), (ValueError, "failed")],
)
def test_the_status_says_how_a_run_ended(
    error: type[BaseException], status: str, tmp_path: Path
) -> None:
    tracker = FakeTracker()
    with pytest.raises(error), Trackers([tracker], pytest.fail).tracking("r", tmp_path, Recipe()):
        raise error("by the test")
    assert tracker.calls[-1] == ("stop", status)


def test_ctrl_c_while_a_result_is_tracked_keeps_the_run(tiny: Path, tmp_path: Path) -> None:
    trackers = Trackers([FakeTracker("log_pictures", KeyboardInterrupt)], pytest.fail)
    with pytest.raises(Interrupted, match="the run is complete"):
        train(TWO_EPOCHS, data=tiny, runs=tmp_path, name="kept", trackers=trackers)
    assert (tmp_path / "kept" / "weights.safetensors").exists()


@pytest.mark.parametrize(
    "place",
    [
        *("wandb", "tensorboard=here", "mlflow=", "mlflow=somewhere", "mlflow=sqlite:///"),
        *("mlflow=sqlite:///:memory:", "mlflow=postgresql://host/name", "mlflow=http:///x"),
    ],
)
def test_a_place_that_cannot_be_tracked_in_is_refused(place: str) -> None:
    with pytest.raises(UsageError, match=r"no tracker is called|is no place to track in"):
        open_trackers([place], warn=pytest.fail)


@pytest.mark.usefixtures("mlflow_settings")
@pytest.mark.parametrize("library", ["tensorboard", "mlflow"])
def test_a_missing_library_names_the_extra(library: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    message = rf"^{library} is not installed; this needs: pip install 'mnistnet\[track\]'$"
    with pytest.raises(MissingError, match=message):
        open_trackers([library], warn=pytest.fail)


# -- TensorBoard, read back with its own reader


def _events(folder: Path) -> EventAccumulator:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    return EventAccumulator(str(folder)).Reload()


def _text(events: EventAccumulator, tag: str) -> str:
    return str(events.Tensors(f"{tag}/text_summary")[-1].tensor_proto.string_val[0].decode())


def test_tensorboard_holds_curves_result_pictures_and_parameters(
    tiny: Path, tmp_path: Path
) -> None:
    trackers = open_trackers(["tensorboard", "tensorboard"], warn=pytest.fail)
    result = train(TWO_EPOCHS, data=tiny, runs=tmp_path, trackers=trackers)
    events = _events(result.run.folder)
    lines = result.run.metrics()
    for key in ("loss", "accuracy"):
        points = [(p.step, round(p.value, 4)) for p in events.Scalars(f"train/{key}")]
        assert points == [(line.images, round(getattr(line, key), 4)) for line in lines]
    assert [p.step for p in events.Scalars("train/images_per_s")] == [600, 1200]
    (final,) = events.Scalars("test/accuracy")
    assert (final.step, final.value) == (1200, pytest.approx(result.accuracy))
    assert set(events.Tags()["images"]) == {"batch", "mistakes"}
    assert events.Images("batch")[0].encoded_image_string.startswith(b"\x89PNG")
    for field, value in TWO_EPOCHS.as_dict().items():
        assert f"| {field} | {value} |" in _text(events, "parameters")
    assert _hyperparameters(events) == TWO_EPOCHS.as_dict()
    assert _text(events, "status") == "finished"


def _hyperparameters(events: EventAccumulator) -> dict[str, Any]:
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

    content = events.summary_metadata["_hparams_/session_start_info"].plugin_data.content
    values = HParamsPluginData.FromString(content).session_start_info.hparams
    return {name: getattr(value, value.WhichOneof("kind")) for name, value in values.items()}


def test_an_interrupted_run_says_so_in_tensorboard_and_a_resumed_one_is_whole(
    tiny: Path, tmp_path: Path
) -> None:
    def press_ctrl_c(progress: Progress) -> None:
        if progress.epoch == 2:
            raise KeyboardInterrupt

    places = {"data": tiny, "runs": tmp_path, "name": "cut"}
    trackers = open_trackers(["tensorboard"], warn=pytest.fail)
    with pytest.raises(Interrupted):
        train(TWO_EPOCHS, on_progress=press_ctrl_c, trackers=trackers, **places)  # type: ignore[arg-type]
    assert _text(_events(tmp_path / "cut"), "status") == "interrupted"
    resume(trackers=open_trackers(["tensorboard"], warn=pytest.fail), **places)  # type: ignore[arg-type]
    events = _events(tmp_path / "cut")
    assert [p.step for p in events.Scalars("train/loss")] == [600, 1200]
    assert events.Scalars("test/accuracy")
    assert _text(events, "status") == "finished"


def test_each_seed_of_a_series_is_a_run_in_tensorboard(tiny: Path, tmp_path: Path) -> None:
    recipe = Recipe(batch_size=50, threads=1)
    trackers = open_trackers(["tensorboard"], warn=pytest.fail)
    done = list(trials(recipe, 2, data=tiny, runs=tmp_path, trackers=trackers))
    (series,) = (p for p in (tmp_path / "trials").iterdir() if p.is_dir())
    for trial in done:
        events = _events(series / f"seed-{trial.seed}")
        assert _hyperparameters(events)["seed"] == trial.seed
        (final,) = events.Scalars("test/accuracy")
        assert final.value == pytest.approx(trial.accuracy)
