"""Which results are recorded: every method on several networks, every metric on several methods, every choice of a parameter."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from xaicli import XaiError, builtin, make_method, make_metric, registry

OWN = f"{Path(__file__).with_name('fixed_inputs.py')}:"
BANK = "bank.safetensors"
SMALL, SMOOTH = ("cnn", "plain", "vit"), ("smooth", "vit")
BUNDLED = {
    "tiny": ("grad-cam", "rise@n_masks=64", "lfi-cam", "t-tame", "tame", "l-cam", "p-tame", "ucag@slices=3"),
    "tiny-vit": ("grad-cam", "rise@n_masks=64", "daam", "t-tame", "p-tame", "attention-rollout"),
}
"""Methods by bundled network: those of which there are trained checkpoints, and some for the size of a real network."""
OF_SOME_NETWORKS = ("dice", "iou", "tokens")
"""Choices that need a segmentation network or a vision transformer: plain formulas hold them in tests of their own."""
AT_MANY_POINTS = ("integrated-gradients", "smoothgrad", "gradient-shap")
"""Methods that take gradients at so many points that one of them lies at a kink of ReLU: they are tried on smooth networks."""
TWO, CONVOLUTIONAL = ("cnn", "vit"), ("cnn", "plain")
TRIED_ON = {
    "attention-rollout": ("vit",),
    "daam": ("vit",),
    "lfi-cam": ("tiny",),
    "t-tame": ("tiny", "tiny-vit"),
    "tame": ("tiny",),
    "l-cam": ("tiny",),
    "p-tame": ("tiny", "tiny-vit"),
    "d-rise": ("boxes",),
    "odam": ("boxes",),
    "winit": ("frames",),
    **dict.fromkeys(AT_MANY_POINTS, SMOOTH),
    **dict.fromkeys(("guided-backprop", "deconvolution", "guided-grad-cam", "deeplift", "lrp"), CONVOLUTIONAL),
}
"""Where choices of a method are tried, by default on two networks: those that it does not refuse and has a checkpoint for."""
WITHOUT_CONTRAST = ("lfi-cam", "d-rise", "odam")

CHEAP = {
    "rise": "n_masks=64",
    "d-rise": "n_masks=64@grid=4",
    "integrated-gradients": "n_steps=8",
    "smoothgrad": "n_samples=8",
    "gradient-shap": "n_samples=8",
    "shapley-sampling": "n_samples=4@n_segments=9",
    "feature-ablation": "n_segments=9",
    "lime": "n_samples=64@n_segments=16",
    "kernel-shap": "n_samples=64@n_segments=16",
    "ucag": "slices=3",
    "u-cam": "n_passes=4",
    "bee": "n_pulls=2@n_steps=4",
    "fovex": "n_fixations=2@n_steps=3",
    "deletion": "steps=4",
    "insertion": "steps=4",
    "aopc": "region=5@regions=6",
    "infidelity": "draws=6",
    "max-sensitivity": "draws=2",
    "randomization": "stages=2",
    "seed-variance": "draws=2",
    "road": "remove=0.2+0.6",
}
"""Parameters that make choices cheap to try; a method's own defaults are recorded beside."""

FURTHER = (
    "grad-cam@layer=features.3",
    "layer-cam@layer=features.0",
    "guided-grad-cam@layer=features.3",
    f"daam@target=features@k=2@temperature=0.5@bank={BANK}",
    f"daam@target=features@weights=sum@bank={BANK}",
    "daam@blocks=0",
    "ucag@slices=3@base=saliency",
    "ucag@slices=3@base=layer-cam",
    "ucag@slices=4+3@crop=90",
    "ucag@slices=3@size=20@weight=softmax_logit@temperature=0.5",
    "ucag@slices=3@scale=1.5@blur=none",
    "ucag@slices=3@blur=3+1@variant=official",
    "bee@n_pulls=3@n_steps=2@metric=deletion@noise=std",
    "rise@n_masks=64@grid=3+4@p1=0.3",
    "d-rise@n_masks=64@grid=3+4@p1=0.3@baseline=0.5",
    "odam@layer=backbone.0+backbone.6",
    "odam@smooth=box@size=5",
    "rise@n_masks=64@p1=0.2+0.5@baseline=0.5",
    "rise@n_masks=1024@n_min=256@tol=0.5",
    "smoothgrad@n_samples=8@noise=0.3",
    "gradient-shap@n_samples=8@baselines=black+blur@noise=0.1",
    "lrp@gamma=0.5",
    "lrp@rule=epsilon@epsilon=0.01",
    "occlusion@window=8@stride=3",
    "winit@regions=6",
    "winit@times=all@aggregate=max",
    "lime@n_samples=64@n_segments=9@kernel_width=1@ridge=0.1",
    "lime@n_samples=200@n_segments=9@interactions=adjacent",
    "kernel-shap@n_samples=200@n_segments=9@interactions=top@top_m=4",
    "deletion@steps=4@variant=rise@step=50",
    "insertion@steps=4@variant=rise@step=50",
    "average-drop@area=50",
    "increase-in-confidence@area=50@mask=binary",
    "average-gain@area=50",
    "road@remove=0.3@noise=0.2",
    "infidelity@draws=6@side=0.5",
    "infidelity@draws=6@perturbation=noise@sigma=0.5",
    "max-sensitivity@draws=2@radius=0.1",
    "pointing-game@tolerance=0",
    "iou@threshold=0.25",
    "randomization@stages=1@seed=3",
    "stability@changes=jpeg@quality=30",
    "stability@changes=shift@shift=2",
)
"""What no choice between words reaches."""

ALL = (
    "deletion@steps=4",
    "insertion@steps=4",
    "average-drop",
    "increase-in-confidence",
    "average-gain",
    "road@remove=0.1+0.5",
    "aopc@regions=8",
    "infidelity@draws=8",
    "max-sensitivity@draws=2",
    "sparseness",
    "entropy",
    "pointing-game",
    "energy-pointing-game",
    "positive-share",
    "relevance-rank",
    "iou",
    "nss",
    "randomization@stages=2",
    "stability",
    "class-sensitivity",
    "seed-variance@draws=2",
)
FEW = ("deletion@steps=4", "insertion@steps=4", "average-drop", "energy-pointing-game", "class-sensitivity")


@dataclass(frozen=True)
class Asked:
    """Maps of a method on a network. whole: all values of two photos are kept, not samples alone."""

    network: str
    label: str
    target: str = "top1"
    photos: int = 1
    whole: bool = False

    @property
    def key(self) -> str:
        return f"{self.network} {self.label} {self.target}"


@dataclass(frozen=True)
class Sheet:
    """One call of `xai score`."""

    model: str
    methods: tuple[str, ...]
    metrics: tuple[str, ...]
    target: str = "top1"
    words: tuple[str, ...] = ()


def canonical(name: str, label: str) -> str | None:
    """A label as results spell it; None where its parameters cannot stand together."""
    try:
        return (make_method if name in builtin.METHODS else make_metric)(label).label
    except XaiError:
        return None


def choices(name: str) -> list[str]:
    """Labels of a method or metric with each other choice of each parameter, and what else is worth a look, cheap throughout."""
    kind = registry.METHODS if name in builtin.METHODS else registry.METRICS
    cheap = f"{name}@{CHEAP[name]}" if name in CHEAP else name
    labels = [cheap]
    for row in registry.describe(registry.definition_class(kind, name)):
        words = re.sub(r"^list of |, joined by \+$", "", row["type"]).split(" | ")
        plain = [
            word
            for word in words
            if " " not in word and word not in ("int", "number", "text", "method", row["default"], *OF_SOME_NETWORKS)
        ]
        labels += [f"{cheap}@{row['name']}={word}" for word in plain]
    labels += [label for label in FURTHER if label.partition("@")[0] == name]
    return list(dict.fromkeys(filter(None, (canonical(name, label) for label in labels))))


def maps_asked(name: str) -> list[Asked]:
    """The maps that are recorded of a method."""
    tried_on = TRIED_ON.get(name, TWO)
    own = [(network, label) for network in BUNDLED for label in BUNDLED[network] if label.partition("@")[0] == name]
    whole = [Asked(network, label, photos=4, whole=True) for network, label in own]
    whole += [Asked(network, name, photos=2, whole=True) for network in (SMOOTH if name in AT_MANY_POINTS else SMALL)]
    sampled = [Asked(network, label) for label in choices(name) for network in tried_on]
    sampled += [Asked(network, choices(name)[0], "4-1") for network in tried_on if name not in WITHOUT_CONTRAST]
    # One that is asked for in both ways is kept whole.
    return list({one.key: one for one in [*sampled, *whole]}.values())


SHEETS = {
    "tiny": Sheet("tiny", ("grad-cam",), ALL),
    "tiny-few": Sheet("tiny", ("lfi-cam", "t-tame", "p-tame", "rise@n_masks=64"), FEW),
    "tiny-vit": Sheet("tiny-vit", ("daam",), ALL),
    "tiny-vit-few": Sheet("tiny-vit", ("grad-cam", "t-tame", "p-tame"), FEW),
    "top2": Sheet(f"{OWN}cnn", ("saliency", "lime@n_samples=64"), FEW[:2], "top2", ("--seed", "5")),
    "contrast": Sheet(f"{OWN}plain", ("layer-cam",), FEW[:3], "0-3", ("--no-controls",)),
    "choices": Sheet(
        f"{OWN}cnn", ("grad-cam",), tuple(label for name in builtin.METRICS for label in choices(name)), words=("--no-controls",)
    ),
}
