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
    """Groups of maps (n, d), each non-negative with sum 1, which all belong to one class. Needs scikit-learn (extra `audit`)."""
    if len(maps) < FEWEST:
        return Grouping(np.zeros(len(maps), dtype=np.intp), None)
    random = np.random.default_rng(seed)
    # Roots: products of these are how much two maps overlap, 0 to 1 (Bhattacharyya), which a single bright cell does not decide.
    points = np.sqrt(maps)
    drawn = np.sort(random.permutation(len(points))[:LARGEST])
    labels, count = spectral(points[drawn], 0, seed)
    if count == 1:
        return Grouping(np.zeros(len(maps), dtype=np.intp), None)
    stability = mean_agreement(points[drawn], labels, count, random, seed)
    return Grouping(largest_first(spread(points, drawn, labels, count)), stability)


def spectral(points: Floats, count: int, seed: int) -> tuple[Labels, int]:
    """Groups of points (n, d), and how many; count: of groups, 0 for as many as the eigengap tells (Ng, Jordan and Weiss, 2001;
    von Luxburg, 2007, section 8.3)."""
    from sklearn.cluster import KMeans

    alike = (points @ points.T) ** SHARPNESS
    np.fill_diagonal(alike, 0)
    laplacian = scipy.sparse.csgraph.laplacian(alike, normed=True)
    most = max(2, min(MOST_GROUPS, len(points) // 3))
    values, vectors = scipy.linalg.eigh(laplacian, subset_by_index=(0, most))
    count = count or int(np.diff(values).argmax()) + 1
    if count == 1:
        return np.zeros(len(points), dtype=np.intp), 1
    rows = vectors[:, :count] / np.maximum(np.linalg.norm(vectors[:, :count], axis=1, keepdims=True), 1e-12)
    labels = KMeans(count, n_init=10, random_state=seed % 2**32).fit_predict(rows)
    return np.asarray(labels, dtype=np.intp), count


def mean_agreement(points: Floats, labels: Labels, count: int, random: np.random.Generator, seed: int) -> float:
    """The mean adjusted Rand index of the labels and those found in random parts of the points."""
    from sklearn.metrics import adjusted_rand_score

    size = max(count + 1, round(KEPT * len(points)))
    found = []
    for _ in range(RESAMPLES):
        part = random.permutation(len(points))[:size]
        found.append(adjusted_rand_score(labels[part], spectral(points[part], count, seed)[0]))
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
