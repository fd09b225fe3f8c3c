"""Below which confidence `mnistnet predict` says "not sure": chosen when a run is exported.

    threshold = choose_threshold(recipe, probabilities, labels)

The rule: as high as it can be with 98 % of the validation digits still sure. It looks at digits
alone; how much else it turns away is measured, not chosen by (benchmarks/threshold.py).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from mnistnet.metrics.scores import selective_accuracy

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from mnistnet.training.recipe import Recipe

# One digit in fifty goes to a person, and with them four of five mistakes.
SURE_SHARE = 0.98
# Where no images were held out, what the rule gave for the same recipe, trained on the first 50,000
# images and measured on the last 10,000. A network is surer of images that it was trained on.
CHOSEN_BEFORE = {"fast": 0.65, "release": 0.7}
LIKELIER_THAN_NOT = 0.5  # for a recipe that nothing was chosen for


def choose_threshold(
    recipe: Recipe, probabilities: NDArray[np.float32], labels: NDArray[np.uint8]
) -> float:
    """Choose the confidence below which an answer counts as unsure.

    Args:
        recipe: what the network was trained by.
        probabilities: (N, 10), its answers to the images that the run is judged on.
        labels: (N,), theirs. Neither is looked at unless the images were held out for validation.
    """
    if not recipe.validation:
        return CHOSEN_BEFORE.get(recipe.name, LIKELIER_THAN_NOT)
    (point,) = selective_accuracy(probabilities, labels, (SURE_SHARE,))
    return math.floor(point.threshold * 10_000) / 10_000  # down, so that it leaves 98 % and no less
