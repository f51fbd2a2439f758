"""A watermark planted in one class is the first cluster of an audit, and gone after `xai augment` and training again."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import xaicli
from docs.watermark import CLASSES, MARK, decisions, photo, trained, watermarked, write_photos


def read(paths: list[Path]) -> list[np.ndarray]:
    return [np.asarray(Image.open(path).convert("RGB")) for path in paths]


@pytest.mark.slow
def test_a_watermark_is_the_first_cluster_and_gone_after_augmenting_and_training_again(tmp_path: Path) -> None:
    write_photos(tmp_path / "photos", 24, 0, mark=("ring",))
    paths = sorted((tmp_path / "photos").rglob("*.png"))
    labels = [CLASSES.index(path.parent.name) for path in paths]
    network = trained(read(paths), labels)
    # The shortcut is learned: a disc with the mark is a ring to the network.
    marked_discs = [watermarked(photo(0, 1000 + number)) for number in range(20)]
    assert decisions(network, marked_discs).count(1) >= 15

    before = xaicli.audit(tmp_path / "photos", network, recursive=True, output=tmp_path / "audit")
    first = before.clusters[0]
    assert first.target == "ring"
    assert first.where == "lower left corner"
    assert first.is_striking
    assert not any(cluster.is_striking for cluster in before.clusters if cluster.target != "ring")

    copies = tmp_path / "copies"
    xaicli.augment(tmp_path / "photos", tmp_path / "audit", cluster=1, recursive=True, output=copies)
    with open(copies / "labels.csv") as file:
        rows = list(csv.DictReader(file))
    cleaned = read([copies / row["image"] for row in rows])
    assert not any((picture[MARK][..., 2] < 40).any() and (picture[MARK][..., 0] > 240).any() for picture in cleaned)

    again = trained(cleaned, [CLASSES.index(row["label"]) for row in rows])
    after = xaicli.audit(tmp_path / "photos", again, recursive=True, output=tmp_path / "audit-again")
    assert not any(cluster.is_striking for cluster in after.clusters)
    assert decisions(again, marked_discs).count(1) <= 5


@pytest.mark.slow
def test_a_watermark_in_half_of_a_class_sets_that_half_apart(tmp_path: Path) -> None:
    write_photos(tmp_path / "photos", 24, 0)
    marked = [tmp_path / "photos" / "ring" / f"ring-{number}.png" for number in range(0, 24, 2)]
    for path, picture in zip(marked, read(marked), strict=True):
        Image.fromarray(watermarked(picture)).save(path)
    paths = sorted((tmp_path / "photos").rglob("*.png"))
    network = trained(read(paths), [CLASSES.index(path.parent.name) for path in paths])
    found = xaicli.audit(tmp_path / "photos", network, recursive=True)
    first = found.clusters[0]
    assert first.where == "lower left corner"
    assert {Path(found.findings[at].image).name for at in first.members} == {path.name for path in marked}
    assert first.stability is not None
    assert first.stability > 0.8
