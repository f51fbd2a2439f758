"""captum's rule-based methods on a twin of the network.

captum puts hooks and rules on modules. It assumes that each activation is a module of a known kind and used once; where that is
wrong, its map silently explains another network, and an error leaves its hooks on the model. Here it works on a twin that is
thrown away, and each method first checks that its rules reach every operation of the clean pass.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from xaicli.errors import UsageError
from xaicli.network.classifier import Classifier
from xaicli.network.observe import Observed, observe
from xaicli.network.twin import PerCall, fix_side_branches, replace_module, twin_of
from xaicli.targets import Resolved, Targets, gather

Arguments = tuple[Tensor, Tensor]
"""The classes (B, 1) and those they are set against (B, 1): captum repeats them wherever it repeats photos."""


class Scored(nn.Module):
    """The twin with one number per photo as its output: the target's logit, or a difference of two logits."""

    def __init__(self, network: nn.Module, logits: Callable[[object, int], Tensor]) -> None:
        super().__init__()
        self.network = network
        self.logits = logits

    def forward(self, photos: Tensor, classes: Tensor, against: Tensor) -> Tensor:
        return gather(self.logits(self.network(photos.clone()), len(photos)), classes, against)[:, 0]


@dataclass(frozen=True, eq=False)
class TwinPass:
    """What a rule-based method works on: the photos (B, 3, H, W), the twin, what its clean pass did, and the targets
    resolved there."""

    photos: Tensor
    scored: Scored
    observed: Observed
    logits: Tensor
    chosen: Resolved

    @property
    def network(self) -> nn.Module:
        return self.scored.network

    def each_target(self, explain: Callable[[Tensor, Arguments], Tensor]) -> Tensor:
        """Maps (B, T, 3, H, W): `explain(photos, arguments)` returns (B, 3, H, W) and is called once per target."""
        maps = []
        for t in range(self.chosen.classes.shape[1]):
            photos = self.photos.clone().requires_grad_(True)
            maps.append(explain(photos, (self.chosen.classes[:, t : t + 1], self.chosen.against[:, t : t + 1])).detach())
        return torch.stack(maps, dim=1)


@contextmanager
def twin_pass(classifier: Classifier, inputs: Tensor, targets: Targets) -> Iterator[TwinPass]:
    """A twin of the classifier's network after its clean pass, ready for rules, with gradients on and captum's notices
    off."""
    with torch.inference_mode(False), torch.enable_grad(), torch.autocast(classifier.device.type, enabled=False), quiet():
        twin = twin_of(classifier.torch_module, classifier.name)
        # A gate gets no relevance: all of it goes to what is gated (Arras et al., 2019).
        fix_side_branches(twin)
        photos = inputs.detach().clone()
        observed = observe(twin, photos)
        if not observed.has_graph:
            raise refuse("a method of rules", classifier.name, "its forward pass gives no gradients")
        logits = classifier.logits(observed.output, len(photos))
        chosen = targets.resolve(logits).detached()
        yield TwinPass(photos, Scored(twin, classifier.logits), observed, logits, chosen)


def require_modules(method: str, classifier: Classifier) -> None:
    """Raise UsageError for TorchScript, whose parts no rule reaches."""
    if isinstance(classifier.module, torch.jit.ScriptModule):
        raise refuse(method, classifier.name, "TorchScript runs its parts out of reach of rules and hooks")


@contextmanager
def quiet() -> Iterator[None]:
    """Silence captum's warnings, one for each hook that it sets."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=UserWarning, module=r"captum\.")
        warnings.filterwarnings("ignore", message=r"(Setting|Input Tensor|Required)", category=UserWarning)
        yield


def refuse(method: str, model: str, what: str) -> UsageError:
    return UsageError(
        f"{method} cannot explain {model}: {what}",
        hint="rise takes any network, integrated-gradients any with gradients; SqueezeNet and VGG suit this method.",
    )


def single_use(method: str, model: str, found: TwinPass, kinds: tuple[type[nn.Module], ...], *, split: bool) -> None:
    """Make sure that each module of these kinds is used once per pass: a module that is used more often is split into one per
    call, or refused."""
    for module in found.observed.called(kinds):
        calls = found.observed.times[module]
        if calls == 1:
            continue
        if not split:
            path = found.observed.paths[module]
            what = f"its {type(module).__name__} {path} is used {calls} times in a pass, and the rule allows one use"
            hint = f"Write {method}@split=true to give each use its own."
            raise UsageError(f"{method} cannot explain {model}: {what}", hint=hint)
        replace_module(found.network, module, PerCall(module, calls))
