"""Copies of one network: faithful exports of it, and exports with a fault that teams have met."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

import xaicli
from xaicli.images.view import View
from xaicli.network.classifier import Classifier

NETWORKS = {"mobilenet_v2": "torchvision:mobilenet_v2", "deit_tiny_patch16_224": "timm:deit_tiny_patch16_224"}
Make = Callable[["Original"], Classifier]


class Original:
    """A network with real weights. calibration: inputs (N, 3, H, W) of photos that no comparison uses; folder: for exports."""

    def __init__(self, name: str, assets: Path, folder: Path) -> None:
        weights = assets / "weights" / f"{name}.safetensors"
        self.classifier = xaicli.load_classifier(NETWORKS[name], weights=weights, device="cpu", precision="fp32")
        self.name, self.folder = name, folder
        self.photos = sorted((assets / "photos").glob("*.jpg"))
        folder.mkdir(parents=True, exist_ok=True)

    @property
    def view(self) -> View:
        return self.classifier.view

    def module(self) -> nn.Module:
        """A copy."""
        return copy.deepcopy(self.classifier.torch_module).eval()

    def calibration(self, count: int = 32) -> Tensor:
        from PIL import Image

        chosen = self.photos[1 :: max(2, len(self.photos) // count)][:count]
        return torch.stack([self.view.prepare(Image.open(path).convert("RGB")) for path in chosen])

    def of(self, module: nn.Module, view: View | None = None, name: str = "") -> Classifier:
        """A classifier of an altered module, or of the same one with another view."""
        layer = "auto"
        made = replace(self.classifier, module=module, forward=module, name=name or self.name, layer=layer)
        return replace(made, view=view or self.view, fingerprint=name[:16].ljust(16, "0"))

    def onnx(self, module: nn.Module, name: str) -> Path:
        path = self.folder / f"{name}.onnx"
        if not path.is_file():
            example = torch.rand(2, 3, *self.view.size)
            axes = {"photos": {0: "batch"}, "logits": {0: "batch"}}
            torch.onnx.export(
                module.eval(), (example,), path, dynamo=False, input_names=["photos"], output_names=["logits"], dynamic_axes=axes
            )
        return path

    def loaded(self, path: Path) -> Classifier:
        made = xaicli.load_classifier(f"onnx:{path}" if path.suffix == ".onnx" else str(path), device="cpu", precision="fp32")
        return replace(made, view=self.view, classes=self.classifier.classes)

    def quantised(self, name: str, inputs: Tensor, **settings: object) -> Classifier:
        """The network in eight bits by onnxruntime's static quantiser."""
        from onnxruntime.quantization import CalibrationDataReader, quantize_static
        from onnxruntime.quantization.shape_inference import quant_pre_process

        path, ready = self.folder / f"{name}.onnx", self.folder / f"{name}.pre.onnx"
        if not path.is_file():
            quant_pre_process(str(self.onnx(self.module(), "fp32")), str(ready), skip_symbolic_shape=True)

            class Reader(CalibrationDataReader):
                def __init__(self) -> None:
                    self.rest = iter(inputs)

                def get_next(self) -> dict[str, np.ndarray] | None:
                    photo = next(self.rest, None)
                    return None if photo is None else {"photos": photo[None].numpy()}

            quantize_static(str(ready), str(path), Reader(), **settings)
        return self.loaded(path)


class Renormalised(nn.Module):
    """The network behind inputs in -1 to 1 where it was trained on ImageNet's mean and deviation."""

    def __init__(self, inner: nn.Module, view: View) -> None:
        super().__init__()
        self.inner = inner
        self.register_buffer("mean", torch.tensor(view.mean)[:, None, None])
        self.register_buffer("std", torch.tensor(view.std)[:, None, None])

    def forward(self, inputs: Tensor) -> Tensor:
        return self.inner((inputs * self.std + self.mean - 0.5) / 0.5)


class Unnormalised(Renormalised):
    """The network behind pixels in 0 to 1."""

    def forward(self, inputs: Tensor) -> Tensor:
        return self.inner(inputs * self.std + self.mean)


class Flipped(nn.Module):
    """The network behind blue, green, red."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, inputs: Tensor) -> Tensor:
        return self.inner(inputs.flip(1))


def other_normalisation(original: Original) -> Classifier:
    return original.of(Unnormalised(original.module(), original.view), name="pixels in 0 to 1")


def swapped_channels(original: Original) -> Classifier:
    return original.of(Flipped(original.module()), name="channels swapped")


def wrong_resize(original: Original) -> Classifier:
    """Squashed without antialiasing: what `cv2.resize(photo, (224, 224))` does."""
    view = replace(original.view, resize=original.view.size, crop=None, interpolation="nearest")
    return original.of(original.module(), view, name="squashed")


def bad_int8(original: Original) -> Classifier:
    noise = torch.randn(8, 3, *original.view.size, generator=torch.Generator().manual_seed(0))
    return original.quantised("int8-bad", noise, per_channel=False)


def pruned(original: Original) -> Classifier:
    """Half of the last block's hidden units are removed, by their number and not by their weight."""
    module = original.module()
    with torch.no_grad():
        for layer in outgoing_of_last_block(module):
            layer.weight[:, : layer.weight.shape[1] // 2] = 0
    return original.of(module, name="half of the last block")


def outgoing_of_last_block(module: nn.Module) -> Sequence[nn.Conv2d | nn.Linear]:
    """What reads the hidden units of the last block: a convolution, or the projections of attention and of the two layers."""
    if hasattr(module, "blocks"):
        last = module.blocks[-1]
        return last.attn.proj, last.mlp.fc2
    # torchvision's MobileNetV2: the projection of the last inverted residual.
    return [module.features[17].conv[2]]


FAULTS: dict[str, Make] = {
    "other normalisation": other_normalisation,
    "swapped channels": swapped_channels,
    "wrong resize": wrong_resize,
    "bad int8": bad_int8,
    "half of the last block pruned": pruned,
}


def onnx_fp32(original: Original) -> Classifier:
    return original.loaded(original.onnx(original.module(), "fp32"))


def pt2(original: Original) -> Classifier:
    path = original.folder / "net.pt2"
    if not path.is_file():
        example = torch.rand(2, 3, *original.view.size)
        batch = {0: torch.export.Dim("batch", min=1, max=512)}
        torch.export.save(torch.export.export(original.module(), (example,), dynamic_shapes=(batch,)), path)
    return original.loaded(path)


def folded(original: Original) -> Classifier:
    """Batch normalisation folded into the convolution before it, by torch.fx; a transformer has none."""
    from torch.fx.experimental.optimization import fuse

    module = original.module()
    has_norms = any(isinstance(part, nn.BatchNorm2d) for part in module.modules())
    return original.of(fuse(module) if has_norms else module, name="folded")


def channels_last(original: Original) -> Classifier:
    return original.of(original.module().to(memory_format=torch.channels_last), name="channels last")


def optimised(original: Original) -> Classifier:
    """The graph as onnxruntime's own optimiser writes it."""
    import onnxruntime

    path = original.folder / "optimised.onnx"
    if not path.is_file():
        options = onnxruntime.SessionOptions()
        options.optimized_model_filepath = str(path)
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
        onnxruntime.InferenceSession(str(original.onnx(original.module(), "fp32")), options, providers=["CPUExecutionProvider"])
    return original.loaded(path)


def good_int8(original: Original) -> Classifier:
    return original.quantised("int8", original.calibration(), per_channel=True)


FAITHFUL: dict[str, Make] = {
    "ONNX fp32": onnx_fp32,
    ".pt2": pt2,
    "folded": folded,
    "channels last": channels_last,
    "onnxruntime's optimiser": optimised,
    "static int8": good_int8,
}
