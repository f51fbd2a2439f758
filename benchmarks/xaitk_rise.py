"""RISE against XAITK-saliency: the same masks of the same input, given to both; only ours draws them within its time."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator
from itertools import islice
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.figures import Figure
from benchmarks.networks import SIDE, mobilenet, real_photos
from benchmarks.side_by_side import Job, Side, present, race, version
from xaicli.methods.rise.masks import MaskPainter
from xaicli.methods.rise.rise import RISE
from xaicli.network.classifier import Classifier
from xaicli.targets import DECISION, Targets

MASKS = 64
SEED = 1


def against_xaitk(rounds: int) -> Iterator[list[Figure]]:
    """Nothing where XAITK-saliency is not installed."""
    if version("xaitk-saliency") is None:
        return
    network = mobilenet().with_masked_dtype(torch.float32)
    photo = real_photos(network, 1)
    rise = RISE(n_masks=MASKS, sampling="iid", estimator="naive")
    masks = masks_of(rise)

    def ours() -> Tensor:
        values = rise.attribute(network, photo, Targets.same(DECISION, 1), torch.tensor([SEED])).values[0, 0]
        return values / values.max()

    job = Job("RISE", f"{MASKS} masks, MobileNetV2", None, "xaitk", 1e-3)
    peers = [
        ("xaitk-saliency", "default, 1 a pass", lambda: by_xaitk(network, photo, masks, 1)),
        ("xaitk-saliency", "tuned, 8 a pass", lambda: by_xaitk(network, photo, masks, 8)),
    ]
    yield race(job, [Side("xai", "float32", ours, MASKS + 1), *present(*peers)], network.module, rounds)


def masks_of(rise: RISE) -> np.ndarray:
    """Our masks (N, H, W), float32."""
    law, found = rise.law((SIDE, SIDE)), []
    painter = MaskPainter.on(torch.device("cpu"), law.grid)
    for number in range(-(-rise.n_masks // law.chunk)):
        drawn = law.draw(SEED, number)
        found.append(painter.masks(drawn.bits.float(), drawn.shifts))
    return torch.cat(found)[: rise.n_masks].numpy()


def by_xaitk(network: Classifier, photo: Tensor, masks: np.ndarray, batch_size: int) -> Tensor:
    """The map (H, W) by XAITK-saliency's own loop and sum, of masks that are there already."""
    from smqtk_classifier import ClassifyImage
    from xaitk_saliency import PerturbImage
    from xaitk_saliency.impls.gen_classifier_conf_sal.rise_scoring import RISEScoring
    from xaitk_saliency.impls.gen_image_classifier_blackbox_sal.occlusion_based import PerturbationOcclusion

    class Given(PerturbImage):  # type: ignore[misc]
        def perturb(self, ref_image: np.ndarray) -> np.ndarray:
            return masks

        def get_config(self) -> dict[str, Any]:
            return {}

    class OneClass(ClassifyImage):  # type: ignore[misc]
        def get_labels(self) -> list[Hashable]:
            return ["decision"]

        def classify_images(self, img_iter: Iterable[np.ndarray]) -> Iterator[dict[Hashable, float]]:
            left = iter(img_iter)
            while images := list(islice(left, batch_size)):
                with torch.inference_mode():
                    inputs = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2)
                    scores = network.torch_module(inputs).softmax(dim=1)[:, target]
                yield from ({"decision": float(score)} for score in scores)

        def get_config(self) -> dict[str, Any]:
            return {}

    with torch.inference_mode():
        target = int(network.torch_module(photo).argmax())
    found = PerturbationOcclusion(Given(), RISEScoring())(photo[0].permute(1, 2, 0).numpy(), OneClass())
    return torch.from_numpy(np.asarray(found[0], dtype=np.float32))
