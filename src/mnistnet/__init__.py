"""Train, prove, ship and run a 20,826-parameter network that reads handwritten digits."""

__version__ = "0.1.0"
