"""Decide whether a bundle may be published: `judge`, the steps of `mnistnet gate`."""
