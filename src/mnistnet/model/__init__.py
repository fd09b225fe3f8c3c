"""The network: `architecture` describes its layers, `network` is its PyTorch module."""
