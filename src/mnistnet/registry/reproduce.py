"""`mnistnet reproduce BUNDLE`: do the recipe and data in the manifest give these weights again?

result = reproduce(Path("bundle"))
result.same, result.differences, result.significant
"""

from __future__ import annotations

import re
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mnistnet import data as datasets
from mnistnet.bundle.manifest import check_files
from mnistnet.errors import DataError, MissingError, RecipeError
from mnistnet.metrics.intervals import PairedDifference, mcnemar_exact, paired_difference
from mnistnet.provenance import differences, origin_of, training_program
from mnistnet.registry.registry import open_registry
from mnistnet.training.fit import fit
from mnistnet.training.machine import engine_for
from mnistnet.training.recipe import recipe_from
from mnistnet.training.state import load_weights

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mnistnet.bundle.manifest import Manifest
    from mnistnet.training.fit import Progress
    from mnistnet.training.recipe import Recipe

SIGNIFICANT = 0.05  # McNemar's p below this
PINNED = ("device", "engine", "precision", "threads")  # of the environment, as they were


@dataclass(frozen=True)
class Reproduction:
    """The result of training a bundle again: `there` is the bundle, `here` the new weights."""

    same: bool  # to the bit
    differences: list[str]  # in what they were trained with, a line each
    judged_on: str  # "test", or "validation" where the recipe held images out
    judged: int  # the number of these images
    correct_there: int
    correct_here: int
    difference: PairedDifference  # of the accuracies, here minus there, paired by image
    p: float  # of both being wrong equally often, two-sided (exact McNemar)

    @property
    def significant(self) -> bool:
        """Whether chance would seldom make the accuracies differ so much."""
        return self.p < SIGNIFICANT

    def as_dict(self) -> dict[str, Any]:
        """Return all of it as JSON can hold it."""
        fields = asdict(self) | {"difference": self.difference._asdict()}
        return fields | {"significant": self.significant}


def reproduce(
    bundle: Path,
    *,
    data: Path | None = None,
    on_progress: Callable[[Progress], None] = lambda _: None,
) -> Reproduction:
    """Train again as a bundle's manifest says, and compare.

    Device, engine, precision, threads and the kernels' instruction set are the manifest's. What is
    not here, such as its device, is left to this machine and named in the result's differences, as
    is what cannot be chosen: compiler, versions and source.

    Raises:
        BundleError: the bundle is not whole.
        DataError: the data are not those that it was trained on.
        MnistNetError: see recipe_from and engine_for.
    """
    manifest = check_files(bundle)
    recipe, missing = _pinned_recipe(manifest, bundle)
    dataset = datasets.load(data, validation=recipe.validation)
    if dataset.sha256 != manifest.origin.data:
        raise DataError(
            f"{dataset.source}: is not what {bundle} was trained on; name that with --data"
        )
    wanted = str(manifest.origin.environment.get("instruction_set", ""))
    engine = engine_for(recipe, instruction_set=wanted)
    there = load_weights(bundle / "weights.safetensors")
    here = fit(recipe, dataset.train, engine, on_progress=on_progress).weights
    environment = asdict(engine.environment)
    origin = origin_of(training_program(), recipe.as_dict(), dataset.sha256, environment)
    correct_there, correct_here = (
        engine.probabilities(weights, dataset.test.images).argmax(1) == dataset.test.labels
        for weights in (there, here)
    )
    return Reproduction(
        same=there.tobytes() == here.tobytes(),  # compared as numbers, -0 would equal 0
        differences=[*missing, *differences(manifest.origin, origin)],
        judged_on=recipe.evaluated_on,
        judged=len(dataset.test),
        correct_there=int(correct_there.sum()),
        correct_here=int(correct_here.sum()),
        difference=paired_difference(correct_there, correct_here),
        p=mcnemar_exact(correct_there, correct_here).p,
    )


@contextmanager
def located(name: str, *, remote: str, branch: str) -> Iterator[Path]:
    """Yield a bundle's folder; that of a version such as `v3` is a temporary one."""
    if Path(name).exists() or not re.fullmatch(r"v[0-9]{1,9}", name):
        yield Path(name)
        return
    with open_registry(remote, branch) as registry:
        yield registry.extract(registry.find(registry.read(), int(name[1:])))


def _pinned_recipe(manifest: Manifest, bundle: Path) -> tuple[Recipe, list[str]]:
    """Return the recipe as it was carried out, and a line for each thing that is not here.

    What `auto` meant then is in the manifest's environment, where older ones give the engine its
    compiler's name too.
    """
    environment, missing = manifest.origin.environment, []
    recipe = recipe_from(manifest.origin.recipe, where=str(bundle))
    wanted = {name: environment.get(name, getattr(recipe, name)) for name in PINNED}
    wanted["engine"] = str(wanted["engine"]).split(" by ")[0]
    used = recipe_from(recipe.as_dict() | wanted, where=f"{bundle}, its environment")
    recipe = recipe.replacing(device="auto", engine="auto", precision="auto")
    for name in PINNED:
        try:
            engine_for(pinned := recipe.replacing(**{name: getattr(used, name)}))
            recipe = pinned
        except (RecipeError, MissingError) as error:
            missing.append(f"environment: {name} is not what it was: {error}")
    return recipe, missing
