"""Scores, intervals, paired tests; corruptions; pictures of no digit; times. NumPy alone."""
