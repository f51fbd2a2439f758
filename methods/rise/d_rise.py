"""D-RISE (Petsiuk et al., 2021): RISE for detectors, by how well a masked photo's best proposal reproduces a box."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from xaicli.errors import UsageError
from xaicli.method import Cost, Maps, Method, Needs, Sign, param
from xaicli.methods.rise.mask_estimates import Estimator
from xaicli.methods.rise.mask_laws import Sampling
from xaicli.methods.rise.rise import RISE
from xaicli.network.classifier import Classifier
from xaicli.targets import Targets


@dataclass(frozen=True, kw_only=True)
class DRISE(Method):
    """D-RISE: mean of random masks, weighted by how well the masked photo's best proposal reproduces the box.

    `S(l) = E[w(M) M(l)] / E[M(l)]`, `w = max over proposals q of IoU(t, q) cos(P_t, P_q) O_q` (paper, section 3.2): t is the box
    on the clean photo, P are class scores, O is the objectness, which is left out where a network has none. Proposals are those
    before suppression; without objectness the ones below the detector's confidence do not count. Maps are (B, T, H, W) at the
    input's resolution, 0 to 1 but for noise. Only differences within a map mean something. One set of passes serves all boxes.

    Masks and estimates are those of `rise`, with its defaults in place of the authors' independent masks and plain sum
    (`estimator=naive@sampling=iid`). Their grid has 16 cells a side: objects smaller than a cell need a finer one, and more
    masks. Extras: as of `rise`.

    `xai explain street.jpg --model fasterrcnn_resnet50_fpn --target box:0 --method d-rise`
    """

    n_masks: int = param(5000, "maximum masks per photo", ge=2)
    grid: int | tuple[int, int] = param(16, "coarse cells a side, or ROWS+COLUMNS where the input is not square", ge=1)
    p1: float = param(0.5, "probability of an open cell", gt=0, lt=1)
    baseline: float = param(0.0, "value under a closed mask, after normalisation: 0 is the mean colour")
    estimator: Estimator = param("center", "how similarities become a map")
    sampling: Sampling = param("antithetic", "how masks depend on each other")
    tol: float | None = param(None, "stop at this relative error of the map", gt=0)
    n_min: int = param(512, "masks before the first look at the error; further looks are 256 apart", ge=2)
    return_se: bool = param(False, "also keep the standard error of each pixel")

    name = "d-rise"
    paper = "Petsiuk et al.: Black-box Explanation of Object Detectors via Saliency Maps, CVPR 2021, arXiv:2006.03204"
    needs = Needs.FORWARD | Needs.BOXES
    stochastic = True
    masks_input = True

    @property
    def rise(self) -> RISE:
        """The same on probabilities: that of a box is its similarity."""
        return RISE(**self.parameters_as_given())

    @property
    def sign(self) -> Sign:
        return self.rise.sign

    def cost(self, classifier: Classifier | None = None) -> Cost:
        return self.rise.cost(classifier)

    def attribute(self, classifier: Classifier, inputs: Tensor, targets: Targets, seeds: Tensor) -> Maps:
        if classifier.boxes is None:
            raise UsageError(f"{self.name} explains boxes, and none is named", hint="Give --target box:0.")
        return self.rise.attribute(classifier, inputs, targets, seeds)
