"""The bundle: one folder with everything that reads digits, and proof that it is whole.

    export(net, Path("bundle"), origin=…)         # mnistnet.bundle.export: torch and onnx
    verify(Path("bundle"))                        # mnistnet.bundle.verify: onnxruntime
    read_manifest(Path("bundle")).metrics         # mnistnet.bundle.manifest: neither

The format is written down in docs/BUNDLE.md.
"""
