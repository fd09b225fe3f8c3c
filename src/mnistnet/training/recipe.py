"""Recipes: every hyperparameter of a run, in one frozen dataclass.

    >>> recipe_named("fast").replacing(epochs=3)

A recipe is written as `recipe.json` next to every result, and read back from there. Command-line
flags override its fields by name; nothing else holds a hyperparameter.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mnistnet.errors import RecipeError
from mnistnet.files import read_json

if TYPE_CHECKING:
    from collections.abc import Mapping

PRECISIONS = ("auto", "bfloat16", "float32")
DEVICES = ("auto", "cpu", "cuda", "mps")
ENGINES = ("auto", "native", "torch")


def _bounded(default: Any, low: float, high: float, text: str) -> Any:
    """Declare a field with its bounds (both included) and the help line of its flag."""
    return field(default=default, metadata={"low": low, "high": high, "help": text})


def _one_of(default: str, choices: tuple[str, ...], text: str) -> Any:
    """Declare a field that takes one of a few values."""
    return field(default=default, metadata={"choices": choices, "help": text})


@dataclass(frozen=True)
class Recipe:
    """One way to train; the defaults are the recipe `fast`. Why these: benchmarks/LOG.md."""

    name: str = field(default="fast", metadata={"help": "what the recipe is called in reports"})

    # -- how long, and in what steps
    epochs: int = _bounded(1, 1, 10_000, "passes over the training images, for each network")
    # Small enough for some 900 steps in the one epoch.
    batch_size: int = _bounded(64, 1, 60_000, "images per step")

    # -- the optimiser
    learning_rate: float = _bounded(
        0.01, 0, 10, "the highest learning rate, at the end of the warm-up"
    )
    warmup: float = _bounded(0.15, 0, 1, "fraction of all steps over which the rate rises from 0")
    weight_decay: float = _bounded(0.01, 0, 10, "decoupled weight decay")
    beta1: float = _bounded(0.9, 0, 0.999999, "decay of the gradients' running mean")
    # Averages over some 20 steps (not Adam's 1,000): a one-epoch run has only a few hundred.
    beta2: float = _bounded(0.95, 0, 0.999999, "decay of the second moments")

    # The loss of most images is soon so small that their gradients change little.
    hardest: float = _bounded(
        0.4, 0.01, 1, "share of each batch, the images of the largest loss, to learn from"
    )

    # -- against overfitting and overconfidence
    # Without it one epoch ends a quarter of a point lower.
    label_smoothing: float = _bounded(0.05, 0, 0.9, "share of the target spread over all classes")
    dropout: float = _bounded(0.0, 0, 0.9, "probability of dropping a channel of the last map")

    # -- distillation
    teachers: int = _bounded(
        0, 0, 100, "networks to train first; the last is distilled from their ensemble"
    )
    temperature: float = _bounded(3.0, 0.1, 100, "softens the teachers' probabilities")

    # -- augmentation: the strength of each kind; 0 leaves it out
    rotation_deg: float = _bounded(4.0, 0, 180, "rotate by up to this, either way")
    scale: float = _bounded(0.05, 0, 0.9, "scale width and height, each by up to this fraction")
    shear: float = _bounded(0.075, 0, 2, "shear by up to this many pixels per pixel")
    shift_px: float = _bounded(0.7, 0, 14, "shift by up to this, horizontally and vertically")
    elastic_px: float = _bounded(0.0, 0, 5, "standard deviation of a smooth elastic deformation")
    stroke_px: float = _bounded(0.0, 0, 3, "dilate or erode strokes by up to this")
    blur: float = _bounded(0.0, 0, 1, "share of pictures downsampled and upsampled again")
    contrast: float = _bounded(0.0, 0, 1, "how far black and white points move")
    noise: float = _bounded(0.0, 0, 1, "strength of noise, stains and gaps in some pictures")

    # -- drawn pictures, for each training image so many
    handwriting: float = _bounded(0.0, 0, 10, "drawn digits per training image, of many hands")
    outliers: float = _bounded(
        0.0, 0, 10, "drawn pictures of no digit per training image, whose targets are flat"
    )

    # -- execution
    validation: int = _bounded(
        0, 0, 59_999, "hold out the last N training images and evaluate on them"
    )
    calibration: int = _bounded(
        0, 0, 59_999, "hold out the last N of the other training images to fit a temperature on"
    )
    seed: int = _bounded(0, 0, 2**31 - 1, "of initial weights, order of images, and augmentation")
    precision: str = _one_of(
        "auto", PRECISIONS, "of the layers; auto: the fastest that the processor supports"
    )
    engine: str = _one_of(
        "auto", ENGINES, "what computes; auto: the native kernels where they can, else torch"
    )
    device: str = _one_of(
        "auto", DEVICES, "where to train; auto: the processor, or with torch alone what is fastest"
    )
    threads: int = _bounded(0, 0, 1024, "processor threads; 0: one per core")

    def __post_init__(self) -> None:
        """Refuse values of the wrong type or out of bounds, naming the field; 10 becomes 10.0."""
        for f in dataclasses.fields(self):
            _check(f, value := getattr(self, f.name))
            if isinstance(f.default, float):
                object.__setattr__(self, f.name, float(value))

    @property
    def epochs_in_all(self) -> int:
        """The epochs of all networks, teachers included."""
        return self.epochs * (self.teachers + 1)

    @property
    def evaluated_on(self) -> str:
        """`validation` where images are held out, else `test`."""
        return "validation" if self.validation else "test"

    def replacing(self, **values: Any) -> Recipe:
        """Return a copy with some fields changed. Raises RecipeError for unknown or bad ones."""
        _refuse_unknown(values)
        return dataclasses.replace(self, **values)

    def as_dict(self) -> dict[str, Any]:
        """Return the fields as JSON can hold them."""
        return dataclasses.asdict(self)

    def fingerprint(self, *, without: tuple[str, ...] = ()) -> str:
        """Hash the recipe: eight hexadecimal digits over all fields but those in `without`."""
        kept = {k: v for k, v in self.as_dict().items() if k not in without}
        return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()[:8]


def recipe_named(name: str) -> Recipe:
    """Find a recipe by its name, or read it from a `recipe.json`.

    Raises:
        RecipeError: there is no such recipe or file, or the file has unknown or bad fields.
    """
    if name in RECIPES:
        return RECIPES[name]
    path = Path(name)
    if path.suffix != ".json":
        known = ", ".join(RECIPES)
        raise RecipeError(f"no recipe is called {name!r}; there are {known}, or a recipe.json")
    return recipe_from(read_json(path), where=str(path))


def recipe_from(values: Mapping[str, Any], *, where: str) -> Recipe:
    """Build a recipe from a JSON object; fields that are left out take their defaults."""
    if not isinstance(values, dict):
        raise RecipeError(f"{where}: a recipe is one JSON object of fields and values")
    values = {"hardest": 1.0, **values}  # what recipes from before it was a field trained with
    if values.get("engine") == "compiled":  # what the native engine was called before
        values = {**values, "engine": "native"}
    try:
        return Recipe().replacing(**values)
    except RecipeError as error:
        raise RecipeError(f"{where}: {error}") from None


def _refuse_unknown(values: Mapping[str, Any]) -> None:
    known = [f.name for f in dataclasses.fields(Recipe)]
    for name in values:
        if name not in known:
            raise RecipeError(f"a recipe has no field {name!r}; its fields are {', '.join(known)}")


def _check(f: dataclasses.Field[Any], value: object) -> None:
    accepted = (int, float) if isinstance(f.default, float) else type(f.default)
    if isinstance(value, bool) or not isinstance(value, accepted):
        raise RecipeError(f"{f.name} is {value!r}; it takes a value like {f.default!r}")
    if isinstance(value, str) and not value.isprintable():
        raise RecipeError(f"{f.name} is {value!r}; its characters cannot all be printed")
    choices = f.metadata.get("choices")
    if choices and value not in choices:
        raise RecipeError(f"{f.name} is {value!r}; it is one of {', '.join(choices)}")
    if "low" in f.metadata:
        low, high = f.metadata["low"], f.metadata["high"]
        if not low <= value <= high:  # NaN fails this too
            raise RecipeError(f"{f.name} is {value}; it lies between {low:g} and {high:g}")


# For photos and scans, not only for MNIST's images: augmented as handwriting, pens, paper and
# cameras vary. Stronger augmentation costs accuracy on both, see benchmarks/LOG.md.
RELEASE = Recipe(
    name="release",
    epochs=24,
    batch_size=128,
    hardest=1.0,
    # Soft targets are smooth already; with smoothed labels teachers would learn less about which
    # digits resemble each other (Müller et al. 2019, "When does label smoothing help?").
    label_smoothing=0.0,
    teachers=5,
    temperature=3.0,
    rotation_deg=10.0,
    scale=0.15,
    shear=0.2,
    shift_px=1.2,
    elastic_px=0.5,
    stroke_px=0.8,
    blur=0.3,  # scans of few pixels are read better, and MNIST no worse
    contrast=0.4,
    noise=0.4,
    # More handwriting reads other hands better and MNIST's worse; outliers cost next to nothing.
    handwriting=0.25,
    outliers=0.3,
    calibration=2000,
)

RECIPES: dict[str, Recipe] = {recipe.name: recipe for recipe in (Recipe(), RELEASE)}
