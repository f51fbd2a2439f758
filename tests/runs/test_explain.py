"""`xaicli.explain`: the same attributions that the command writes."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import xaicli
from xaicli.attribution import Attribution
from xaicli.errors import InputError, UsageError
from xaicli.network.classifier import Classifier

NET = Path(__file__).parents[1] / "data" / "net.py"


@pytest.fixture(scope="module")
def model() -> Classifier:
    return xaicli.load_classifier(f"{NET}:make")


def test_every_public_name_can_be_imported() -> None:
    for name in xaicli.__all__:
        assert getattr(xaicli, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        xaicli.nonsense  # noqa: B018


def test_paths_pictures_arrays_and_tensors_of_one_photo_give_one_map(model: Classifier, photo_folder: Path) -> None:
    path = photo_folder / "c.png"
    picture = Image.open(path).convert("RGB")
    array = np.asarray(picture)
    forms = [path, str(path), picture, array, torch.from_numpy(array.copy()).permute(2, 0, 1)]
    maps = [xaicli.explain(form, model)[0].values for form in forms]
    for values in maps[1:]:
        np.testing.assert_array_equal(values, maps[0])


def test_python_and_command_line_agree(model: Classifier, photo_folder: Path, tmp_path: Path) -> None:
    from xaicli.cli.main import main

    words = ["explain", str(photo_folder), "--model", f"{NET}:make", "--method", "rise@n_masks=32"]
    assert main([*words, "-o", str(tmp_path / "out"), "-q"]) == 0
    made = xaicli.explain(sorted(photo_folder.iterdir()), model, method="rise@n_masks=32")
    for attribution in made:
        stem = Path(attribution.record.image).stem
        loaded = Attribution.load(tmp_path / "out" / f"{stem}.rise@n_masks=32.json")
        np.testing.assert_array_equal(loaded.values, attribution.values)
        assert (loaded.record.definition, loaded.record.subject) == (attribution.record.definition, attribution.record.subject)


def test_photos_methods_and_targets_come_in_order(model: Classifier, photo_folder: Path) -> None:
    made = xaicli.explain(sorted(photo_folder.iterdir()), model, method=["grad-cam", "center"], target="top2")
    assert len(made) == 4 * 2 * 2
    assert [one.record.method for one in made[:4]] == ["grad-cam", "grad-cam", "center", "center"]
    assert made[0].record.targets == (made[0].record.target, made[1].record.target)


def test_an_attribution_shows_itself_and_survives_saving(model: Classifier, photo_folder: Path, tmp_path: Path) -> None:
    [attribution] = xaicli.explain(photo_folder / "a.jpg", model)
    png = attribution._repr_png_()
    assert png is not None
    assert png.startswith(b"\x89PNG")
    assert attribution.overlay().size == (60, 40)
    written = attribution.save(tmp_path / "out", "mine")
    assert [path.name for path in written] == ["mine.npy", "mine.png", "mine.json"]
    loaded = Attribution.load(tmp_path / "out" / "mine.json")
    np.testing.assert_array_equal(loaded.values, attribution.values)
    assert loaded.record == attribution.record
    with pytest.raises(InputError, match="not at hand"):
        loaded.overlay()


def test_a_model_handed_in_is_bit_identical_afterwards(photo_folder: Path) -> None:
    sys.path.insert(0, str(NET.parent))
    try:
        from net import net
    finally:
        sys.path.remove(str(NET.parent))
    module = net().train()
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    classifier = xaicli.classifier(module.eval(), resize=36, crop=32)
    xaicli.explain(photo_folder / "a.jpg", classifier, method=["grad-cam", "rise@n_masks=8"])
    for name, tensor in module.state_dict().items():
        assert torch.equal(tensor, before[name])
    assert all(parameter.grad is None for parameter in module.parameters())
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in module.modules())


def test_bad_input_raises_one_clear_error(model: Classifier, photo_folder: Path) -> None:
    with pytest.raises(InputError, match=r"does not exist|cannot be read"):
        xaicli.explain("nowhere.jpg", model)
    with pytest.raises(UsageError, match="out of range"):
        xaicli.explain(photo_folder / "a.jpg", model, target=17)
    with pytest.raises(InputError, match="is not a photo"):
        xaicli.explain(object(), model)
