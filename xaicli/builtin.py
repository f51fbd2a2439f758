"""The built-in methods and metrics: names, where they are, and their summaries.

Data only, so that `xai list methods` and shell completion import neither torch nor a method; a test compares the table with the
classes. Add a line here when you add a file to `methods/` or `metrics/`.
"""

from __future__ import annotations

from typing import NamedTuple


class Builtin(NamedTuple):
    target: str
    """`module:Class` below xaicli.methods or xaicli.metrics."""
    summary: str
    """The first line of the class's docstring, without its full stop."""
    aliases: tuple[str, ...] = ()


BRANCHED_NETWORKS = "xaicli.methods.lfi.lfi_network"
"""The module that adds a branch to a network, and adds it again from the entry `branch` of a checkpoint's record."""

JUDGES = "xaicli.registry"
"""The module that finds the metric to which a method is fitted, by its name; see `xaicli.judge`."""

METHODS: dict[str, Builtin] = {
    "grad-cam": Builtin("grad_cam:GradCAM", "Grad-CAM: channels weighted by their mean gradient"),
    "grad-cam++": Builtin(
        "grad_cam:GradCAMPlusPlus",
        "Grad-CAM++: positive gradients weighted by higher-order terms, for several objects of one class",
        ("grad-cam-plus-plus",),
    ),
    "xgrad-cam": Builtin(
        "grad_cam:XGradCAM",
        "XGrad-CAM: gradients averaged in proportion to activations, so that channels keep their share of the score",
    ),
    "layer-cam": Builtin(
        "grad_cam:LayerCAM", "LayerCAM: every element weighted by its own positive gradient; also for early layers"
    ),
    "hirescam": Builtin(
        "grad_cam:HiResCAM",
        "HiResCAM: gradient times activation; where the head is linear, the signed map divides the logit up exactly",
    ),
    "eigen-cam": Builtin(
        "eigen_cam:EigenCAM", "Eigen-CAM: activations projected on their first principal direction; the same for every target"
    ),
    "score-cam": Builtin(
        "score_cam:ScoreCAM", "Score-CAM: channels weighted by the score of the photo seen through each of them"
    ),
    "ablation-cam": Builtin(
        "ablation_cam:AblationCAM",
        "Ablation-CAM: channels weighted by the fall of the score when each is set to zero",
    ),
    "attention-rollout": Builtin(
        "attention_rollout:AttentionRollout",
        "Attention rollout: attention multiplied up through all blocks of a vision transformer; the same for every target",
        ("rollout",),
    ),
    "daam": Builtin("daam.daam:DAAM", "Dynamic accumulated attention: what each patch gave to the class token, block by block"),
    "gae": Builtin(
        "gae:GAE",
        "Generic attention explainability: relevance handed on through attention, weighted by its gradient",
        ("generic-attention-explainability",),
    ),
    "legrad": Builtin(
        "legrad:LeGrad", "LeGrad: how each block's own score would rise if more attention went to a patch, summed over blocks"
    ),
    "grad-eclip": Builtin(
        "grad_eclip:GradECLIP",
        "Grad-ECLIP: values of patches, weighted by the class token's gradient and by likeness to its query",
    ),
    "finer-cam": Builtin("finer_cam:FinerCAM", "Finer-CAM: a CAM of what sets a class apart from the classes most like it"),
    "recipro-cam": Builtin(
        "recipro_cam:ReciproCAM",
        "Recipro-CAM: the score of each place of a feature map where it stands alone; without gradients",
        ("vit-recipro-cam",),
    ),
    "ucag": Builtin(
        "ucag.ucag:UCAG", "Unfold and conquer: overlapping slices, enlarged and explained each for itself, folded back to one map"
    ),
    "feature-cam": Builtin(
        "feature_cam.feature_cam:FeatureCAM",
        "Feature CAM: a class map times the photo's edges, sharp to look at; its detail is the photo's, not the network's",
    ),
    "u-cam": Builtin(
        "certainty.u_cam:UCAM", "U-CAM: the part of a class map that makes the network certain, or what makes it certain at all"
    ),
    "boundary": Builtin(
        "boundary.boundary:Boundary", "Decision boundary: what would have to change for another class to be as likely"
    ),
    "fovex": Builtin(
        "fovex:FovEx",
        "FovEx: a round window, moved by gradient steps over the blurred photo to where the network sees its target best",
    ),
    "bee": Builtin(
        "bee.bee:BEE",
        "BEE: path integrals from random baselines, of which the map that a metric scores best is kept",
    ),
    "winit": Builtin(
        "winit.winit:WinIT",
        "WinIT: the importance of each frame of a sequence, by what the score loses when the latest frames are hidden",
    ),
    "lfi-cam": Builtin(
        "lfi.lfi_cam:LFICAM",
        "LFI-CAM: the attention by which a network that was trained for it gates its own last features; one map for all classes",
    ),
    "t-tame": Builtin(
        "tame.t_tame:TTAME",
        "T-TAME: class maps from three layers, by a small head that was trained to keep the masked photo's decision",
    ),
    "tame": Builtin(
        "tame.t_tame:TAME", "TAME: T-TAME's forerunner of 2022, for convolutional networks, with its own training recipe"
    ),
    "l-cam": Builtin(
        "tame.l_cam:LCAM",
        "L-CAM: class maps of one 1 x 1 convolution on the last features, trained to keep the masked photo's decision",
    ),
    "p-tame": Builtin(
        "tame.p_tame:PTAME",
        "P-TAME: class maps by a trained head on a small auxiliary network; the classifier itself may be a black box",
    ),
    "rise": Builtin("rise.rise:RISE", "Mean of random masks, weighted by the score of the masked photo"),
    "d-rise": Builtin(
        "rise.d_rise:DRISE",
        "D-RISE: mean of random masks, weighted by how well the masked photo's best proposal reproduces the box",
    ),
    "odam": Builtin(
        "odam:ODAM", "ODAM: gradient times activation at every place, for one box: for its score, or for one of its sides"
    ),
    "random": Builtin("random_map:RandomMap", "Noise of 7 x 7 values that knows nothing of the photo: a control"),
    "center": Builtin("center:Center", "Gaussian in the middle of every photo: a control"),
    "saliency": Builtin(
        "pixel_gradients.pixel_gradients:Saliency",
        "Gradient of the target's logit with respect to each pixel",
        ("gradient", "vanilla-gradient"),
    ),
    "input-x-gradient": Builtin(
        "pixel_gradients.pixel_gradients:InputXGradient",
        "Gradient of the target's logit times the pixel's value",
        ("gradient-x-input", "grad-x-input"),
    ),
    "integrated-gradients": Builtin(
        "pixel_gradients.pixel_gradients:IntegratedGradients",
        "Gradients along the straight line from a baseline to the photo",
        ("ig",),
    ),
    "smoothgrad": Builtin("pixel_gradients.pixel_gradients:SmoothGrad", "Gradients averaged over noisy copies of the photo"),
    "gradient-shap": Builtin(
        "pixel_gradients.pixel_gradients:GradientSHAP",
        "Gradients at random points between random baselines and the photo",
        ("expected-gradients",),
    ),
    "guided-backprop": Builtin(
        "rectifiers:GuidedBackprop",
        "Gradient with negative parts set to zero at each ReLU on the way back",
        ("guided-backpropagation", "gbp"),
    ),
    "deconvolution": Builtin(
        "rectifiers:Deconvolution", "Gradient that passes each ReLU by its own sign, not by the photo's", ("deconvnet",)
    ),
    "guided-grad-cam": Builtin("rectifiers:GuidedGradCAM", "Guided backpropagation times the upsampled Grad-CAM map of a layer"),
    "deeplift": Builtin("deeplift:DeepLIFT", "Contributions of differences from a baseline, by the rescale rule"),
    "lrp": Builtin(
        "lrp:LRP",
        "Layer-wise relevance propagation, for convolutional networks: the score is handed back from layer to layer",
    ),
    "occlusion": Builtin(
        "occlusion.occlusion:Occlusion",
        "Fall of the score when a window that slides over the photo hides part of it",
        ("sliding-window",),
    ),
    "feature-ablation": Builtin("segments.segment_effects:FeatureAblation", "Fall of the score when one segment is hidden"),
    "shapley-sampling": Builtin(
        "segments.segment_effects:ShapleySampling",
        "Shapley values of segments, estimated from random orders in which they appear",
        ("shapley",),
    ),
    "lime": Builtin(
        "segments.surrogates:LIME", "Weights of a linear model of the score, fitted to copies that show random superpixels"
    ),
    "kernel-shap": Builtin(
        "segments.surrogates:KernelSHAP", "Shapley values of segments by a weighted linear fit to random coalitions", ("shap",)
    ),
}

METRICS: dict[str, Builtin] = {
    "deletion": Builtin("deletion:Deletion", "Area under the probability while the most salient pixels are removed"),
    "insertion": Builtin("deletion:Insertion", "Area under the probability while the most salient pixels are put back"),
    "removal": Builtin(
        "removed_area:Removal", "Probability of the target left when the most salient tenth of the photo is removed"
    ),
    "average-drop": Builtin(
        "average_drop:AverageDrop",
        "Probability lost when only the salient part of the photo is kept, in percent of what it was",
        ("ad",),
    ),
    "increase-in-confidence": Builtin(
        "average_drop:IncreaseInConfidence",
        "Whether probability rises when only the salient part is kept: 100 or 0",
        ("ic",),
    ),
    "average-gain": Builtin(
        "average_drop:AverageGain",
        "Probability gained when only the salient part is kept, in percent of what was open",
        ("ag",),
    ),
    "road": Builtin("road.road:ROAD", "Whether the decision survives when relevant pixels are interpolated away"),
    "aopc": Builtin(
        "aopc:AOPC",
        "Mean loss while the most salient regions are replaced one after the other",
        ("pixel-flipping",),
    ),
    "infidelity": Builtin("infidelity:Infidelity", "Squared error of what the map predicts a change to cost"),
    "max-sensitivity": Builtin(
        "max_sensitivity:MaxSensitivity",
        "Largest relative change of the map under small noise on the photo",
    ),
    "sparseness": Builtin("sparseness:Sparseness", "Gini index of the absolute map: 0 where all places count alike", ("gini",)),
    "entropy": Builtin("sparseness:Entropy", "Shannon entropy of the absolute map, scaled to sum to 1, in nats"),
    "pointing-game": Builtin(
        "pointing_game:PointingGame",
        "Whether the map's largest value lies on the target, or near it: 1 or 0",
    ),
    "energy-pointing-game": Builtin(
        "pointing_game:EnergyPointingGame",
        "Share of the map's mass that lies on the target, 0 to 1",
        ("ebpg",),
    ),
    "positive-share": Builtin(
        "pointing_game:PositiveShare",
        "Share of the map's positive values that lies on the target, 0 to 1",
        aliases=("grid-pointing-game",),
    ),
    "relevance-rank": Builtin(
        "relevance_rank:RelevanceRank",
        "Share of the K most salient pixels on the target, K being its size",
        ("rra",),
    ),
    "iou": Builtin("relevance_rank:IoU", "Intersection over union of the target and the map above a threshold"),
    "nss": Builtin("gaze:ScanpathSaliency", "Mean of the map where people looked, in standard deviations above its mean (NSS)"),
    "randomization": Builtin(
        "randomization.randomization:Randomization",
        "Rank correlation with maps of the network as its weights turn random",
        ("mprt", "sanity-check"),
    ),
    "stability": Builtin("stability:Stability", "Rank correlation with maps of the photo flipped, shifted, or saved as JPEG"),
    "class-sensitivity": Builtin(
        "class_sensitivity:ClassSensitivity",
        "Rank correlation of the maps of two classes of one photo",
    ),
    "seed-variance": Builtin("seed_variance:SeedVariance", "Relative error that a map has from the method's own random numbers"),
}
