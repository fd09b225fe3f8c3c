"""Training: recipes, two engines, runs and series of runs, trackers."""
