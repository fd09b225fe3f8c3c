"""Training: recipes, the training loop, runs and series of runs, trackers."""
