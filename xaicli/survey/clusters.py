"""Groups of alike maps: spectral relevance analysis (SpRAy, Lapuschkin et al., 2019).

Maps of one class are compared on a coarse grid; the eigenvalues of the Laplacian of their likenesses tell how many groups there
are. A group whose maps lie at one place of the border is what a watermark looks like. The authors' graph joins each map with its
nearest neighbours; it tears one broad group into several where maps are few, which likenesses of all pairs do not.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.linalg
import scipy.sparse.csgraph
from numpy.typing import NDArray

from xaicli.survey.map_grids import Floats
from xaicli.survey.set_apart import set_apart

FEWEST = 6
"""A class of fewer maps is one group."""
MOST_GROUPS = 8
LARGEST = 1000
"""Of a larger class so many maps, drawn at random, are grouped, and each other map goes to the nearest group's mean."""
SHARPNESS = 4
"""The power of the overlap of two maps that is their likeness."""
RESAMPLES, KEPT = 10, 0.8
"""How often the groups are sought again, in which share of the maps, to see whether they come back."""

Labels = NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class Grouping:
    """The group of each map (n,), the largest group first.

    stability: the mean adjusted Rand index between these groups and those of random four fifths of the maps, 1 where they always
    come back, about 0 where they are chance; None for a single group.
    """

    labels: Labels
    stability: float | None

    @property
    def count(self) -> int:
        return int(self.labels.max()) + 1 if len(self.labels) else 0


def grouped(maps: Floats, seed: int = 0) -> Grouping:
    """Groups of maps (n, side * side), each non-negative with sum 1, which all belong to one class. Needs scikit-learn (extra
    `audit`)."""
    if len(maps) < FEWEST:
        return Grouping(np.zeros(len(maps), dtype=np.intp), None)
    random = np.random.default_rng(seed)
    drawn = np.sort(random.permutation(len(maps))[:LARGEST])
    labels = parted(maps[drawn], seed)
    count = int(labels.max()) + 1
    if count == 1:
        return Grouping(np.zeros(len(maps), dtype=np.intp), None)
    stability = mean_agreement(maps[drawn], labels, random, seed)
    return Grouping(largest_first(spread(np.sqrt(maps), drawn, labels, count)), stability)


def parted(maps: Floats, seed: int) -> Labels:
    """Groups: the maps that are set apart by a place of the border, if there are such, and the spectral groups of all others."""
    chosen = set_apart(maps)
    if chosen is None:
        return spectral(np.sqrt(maps), seed)
    labels = np.zeros(len(maps), dtype=np.intp)
    labels[~chosen] = 1 + (spectral(np.sqrt(maps[~chosen]), seed) if (~chosen).sum() >= FEWEST else 0)
    return labels


def spectral(points: Floats, seed: int) -> Labels:
    """Groups of points (n, d), as many as the eigengap tells (Ng, Jordan and Weiss, 2001; von Luxburg, 2007, section 8.3).

    Points are roots of maps: their products are how much two maps overlap, 0 to 1 (Bhattacharyya), which a single bright cell
    does not decide.
    """
    from sklearn.cluster import KMeans

    alike = (points @ points.T) ** SHARPNESS
    np.fill_diagonal(alike, 0)
    laplacian = scipy.sparse.csgraph.laplacian(alike, normed=True)
    most = max(2, min(MOST_GROUPS, len(points) // 3))
    values, vectors = scipy.linalg.eigh(laplacian, subset_by_index=(0, most))
    count = int(np.diff(values).argmax()) + 1
    if count == 1:
        return np.zeros(len(points), dtype=np.intp)
    rows = vectors[:, :count] / np.maximum(np.linalg.norm(vectors[:, :count], axis=1, keepdims=True), 1e-12)
    labels = KMeans(count, n_init=10, random_state=seed % 2**32).fit_predict(rows)
    return np.asarray(labels, dtype=np.intp)


def mean_agreement(maps: Floats, labels: Labels, random: np.random.Generator, seed: int) -> float:
    """The mean adjusted Rand index of the labels and those found in random parts of the maps."""
    from sklearn.metrics import adjusted_rand_score

    size = max(FEWEST, round(KEPT * len(maps)))
    found = []
    for _ in range(RESAMPLES):
        part = random.permutation(len(maps))[:size]
        found.append(adjusted_rand_score(labels[part], parted(maps[part], seed)))
    return float(np.mean(found))


def spread(points: Floats, drawn: Labels, labels: Labels, count: int) -> Labels:
    """The group of every point: its own if it was drawn, else that of the nearest mean."""
    means = np.stack([points[drawn][labels == group].mean(axis=0) for group in range(count)])
    distances = np.stack([np.square(points - mean).sum(axis=1) for mean in means])
    every: Labels = distances.argmin(axis=0)
    every[drawn] = labels
    return every


def largest_first(labels: Labels) -> Labels:
    """The same groups, numbered by size."""
    order = np.argsort(-np.bincount(labels), kind="stable")
    numbers = np.empty_like(order)
    numbers[order] = np.arange(len(order))
    renumbered: Labels = numbers[labels]
    return renumbered
