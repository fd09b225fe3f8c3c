"""Scores of predictions and how certain they are; corruptions; pictures that show no digit.

NumPy alone, so that evaluating needs no torch.
"""
