"""Train, prove, ship and run a 20,826-parameter network that reads handwritten digits.

>>> from mnistnet import Predictor
>>> Predictor().predict("digit.png").digit  # doctest: +SKIP
7
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mnistnet.inference import Prediction as Prediction
    from mnistnet.inference import Predictor as Predictor

__version__ = "0.1.0"
__all__ = ["Prediction", "Predictor", "__version__"]


def __getattr__(name: str) -> object:
    """Import the predictor when it is asked for: `import mnistnet` itself imports nothing."""
    if name in ("Prediction", "Predictor"):
        from mnistnet import inference

        return getattr(inference, name)
    raise AttributeError(f"module 'mnistnet' has no attribute {name!r}")
