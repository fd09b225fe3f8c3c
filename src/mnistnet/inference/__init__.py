"""Pictures → digits, through a bundle's graphs alone: no torch."""

from mnistnet.inference.predictor import Prediction, Predictor

__all__ = ["Prediction", "Predictor"]
