"""What the tests put into their bundles, beside a network."""

from __future__ import annotations

from mnistnet.bundle.manifest import Origin

ORIGIN = Origin(
    recipe={"name": "fast", "epochs": 1, "learning_rate": 0.01},
    data={"train-images-idx3-ubyte": "ba" * 32, "train-labels-idx1-ubyte": "5e" * 32},
    source={"commit": "0123456789abcdef0123456789abcdef01234567", "dirty": False},
    environment={"precision": "float32", "threads": 2, "instruction_set": "AVX2"},
    versions={"python": "3.11.7", "torch": "2.13.0"},
)
METRICS = {"accuracy": 0.9934, "images": 10_000}
REPORT = b'{"accuracy": 0.9934}\n'
CARD = "# A network that reads digits\n"
