"""Models of other runtimes: named, with the way from each of them."""

from __future__ import annotations

from xaicli.errors import UsageError

CONVERT = "Convert it: python -m tf2onnx.convert {} --output net.onnx; then --model onnx:net.onnx."
WRAP = "Take the network that it was made from, --model FILE.py:FUNCTION, or its ONNX file, --model onnx:FILE."
KINDS = {
    ".keras": ("Keras model", CONVERT.format("--keras FILE")),
    ".h5": ("Keras model", CONVERT.format("--keras FILE")),
    ".pb": ("TensorFlow model", CONVERT.format("--saved-model DIR")),
    ".mlmodel": ("Core ML model", WRAP),
    ".mlpackage": ("Core ML model", WRAP),
    ".engine": ("TensorRT engine", WRAP),
}
"""By the ending of the file: what it is, and the way from it."""


def refuse_other_runtimes(name: str, ending: str) -> None:
    """Raise UsageError where a file is a model of another runtime."""
    if ending in KINDS:
        kind, way = KINDS[ending]
        raise UsageError(f"{name} is a {kind}, which xai does not read", hint=way)
