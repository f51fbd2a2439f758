"""Files of every kind that xai reads: each written small and whole, and read with all that it says."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import ExitStack, closing
from pathlib import Path
from typing import NamedTuple

import numpy as np
import safetensors.torch
import torch
from PIL import Image
from torture.verbs import write_audit

from xaicli.attribution import Attribution, load_array
from xaicli.cli.main import main
from xaicli.errors import InputError
from xaicli.gate import baseline_file
from xaicli.gate.suite import read_suite
from xaicli.images.find import find
from xaicli.models.checkpoint import read_checkpoint, write_checkpoint
from xaicli.models.classes import read_classes
from xaicli.models.load import load_classifier
from xaicli.models.weights import read_weights
from xaicli.record import load_record
from xaicli.results import schema
from xaicli.results.reading import Selection
from xaicli.results.store import Store
from xaicli.rows import Recipe, Row
from xaicli.runs.audit_result import read_audit
from xaicli.runs.labelled import read_labels
from xaicli.runs.remade import Remade
from xaicli.runs.remade_scores import KeptScore
from xaicli.runs.verify import read_evidence

TESTS = Path(__file__).resolve().parents[1]
MODEL = ("--model", f"{TESTS / 'data' / 'net.py'}:make", "--crop", "32", "--resize", "32")
STATE = {"conv.weight": torch.arange(6.0).reshape(2, 3), "conv.bias": torch.tensor([0.5, -0.25])}
RECIPE = Recipe("m", "n", {"name": "m"}, {"name": "n"}, "top1", "fp32")
MORE = Row("z.jpg", "f" * 64, "m", "1", "n", 0.5, "ok", RECIPE.definition, "e" * 16, 0, "d" * 16)
SUITE = """
model = "net.py:make"
images = ["photo.png"]
methods = ["center"]
metrics = ["deletion@steps=4"]
crop = 32
resize = 32
"""


class Kind(NamedTuple):
    """write: makes such files in a folder and returns the one to be damaged; read: all that it says; checked: whether files of
    the kind have checksums, so that what is read is what was written."""

    write: Callable[[Path], Path]
    read: Callable[[Path], object]
    checked: bool = False


def file(name: str, write: Callable[[Path], object]) -> Callable[[Path], Path]:
    """A kind of one file."""

    def written(folder: Path) -> Path:
        write(folder / name)
        return folder / name

    return written


def write_store(path: Path) -> None:
    words = ("--method", "center", "--metric", "deletion@steps=4,sparseness", "-q")
    assert main(["score", "sample:hopper", *MODEL, *words, "-o", str(path)]) == 0


def older_store(version: int) -> Callable[[Path], None]:
    """Writes a store of an older schema: what later steps added is taken away."""

    def write(path: Path) -> None:
        write_store(path)
        with closing(sqlite3.connect(path, isolation_level=None)) as raw:
            for step in reversed(schema.STEPS[version:]):
                for statement in step.split(";\n"):
                    words = statement.split()
                    if words[:2] == ["CREATE", "TABLE"]:
                        raw.execute(f"DROP TABLE {words[2]}")
                    if words[:2] == ["ALTER", "TABLE"]:
                        raw.execute(f"ALTER TABLE {words[2]} DROP COLUMN {words[5]}")
            raw.execute(f"PRAGMA user_version = {version}")

    return write


def all_of(path: Path) -> object:
    """Everything that a store says, but for MORE."""
    with Store.open(path, write=False) as store:
        maps = [(kept.subject, kept.method, kept.box, kept.values.tolist()) for kept in store.maps()]
        photos = [photo for photo in store.photos() if photo.content != MORE.photo]
        models = {key: name for key, name in store.models().items() if key != MORE.model}
        recipes = [recipe for recipe in store.recipes() if recipe.definition != MORE.definition]
        rows = [row for row in store.rows(Selection(), curves=True) if row.key != MORE.key]
        store.scores(readouts=True)
        return rows, maps, photos, models, recipes, store.runs(), list(store.raw_curves())


def all_after_writing(path: Path) -> object:
    """What a store says after another row was added to it."""
    copy = path.with_name("copy.db")
    shutil.copyfile(path, copy)
    try:
        with Store.open(copy) as store:
            store.add([MORE], [RECIPE])
        return all_of(copy)
    finally:
        for left in path.parent.glob("copy.db*"):
            left.unlink()


def explained(folder: Path) -> Path:
    assert main(["explain", "sample:hopper", *MODEL, "--method", "center", "-o", str(folder / "out"), "-q"]) == 0
    return folder / "out" / "hopper.center.json"


def maps_of(path: Path) -> object:
    found = Attribution.load(path.with_suffix(".json"))
    return found.record, found.values.tolist()


def baseline(folder: Path) -> Path:
    (folder / "net.py").write_bytes((TESTS / "data" / "net.py").read_bytes())
    (folder / "xai.toml").write_text(SUITE)
    Image.new("RGB", (40, 40), (200, 30, 30)).save(folder / "photo.png")
    assert main(["baseline", "--suite", str(folder / "xai.toml"), "--trust", "-q"]) == 0
    return folder / ".xai" / "baseline" / "baseline.json"


def maps_of_baseline(folder: Path) -> Path:
    return next(baseline(folder).parent.glob("maps-*.safetensors"))


def baseline_of(path: Path) -> object:
    found = baseline_file.load(path.parent)
    photos = [(photo.image, photo.target, photo.probability, photo.scores, photo.maps) for photo in found.photos]
    return photos, found.definitions, found.model, found.fingerprint, found.seed, found.view


def write_suite(path: Path) -> None:
    path.write_text('model = "tiny"\nimages = ["a.jpg", "photos/"]\nmethods = ["rise@n_masks=8"]\nseed = 3\ncrop = [32, 40]\n')


def write_list(path: Path) -> None:
    (path.parent / "photo.jpg").touch()
    path.write_text("photo.jpg\n" * 9)


def checkpoint_of(path: Path) -> object:
    found = read_checkpoint(path)
    return found.metadata, {name: tensor.tolist() for name, tensor in found.tensors.items()}


def write_onnx(path: Path) -> None:
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    constants = [("weight", np.arange(6, dtype=np.float32).reshape(3, 2) / 10), ("axes", np.array([2, 3]))]
    nodes = [
        helper.make_node("ReduceMean", ["input", "axes"], ["mean"], keepdims=0),
        helper.make_node("MatMul", ["mean", "weight"], ["scores"]),
    ]
    inputs = [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["batch", 3, 8, 8])]
    outputs = [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["batch", 2])]
    graph = helper.make_graph(nodes, "net", inputs, outputs, [numpy_helper.from_array(value, name) for name, value in constants])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), path)


def write_openvino(folder: Path) -> Path:
    import openvino
    from openvino import opset13

    photos = opset13.parameter([-1, 3, 8, 8], np.float32, name="input")
    mean = opset13.reduce_mean(photos, np.array([2, 3]), False)
    weight = opset13.constant(np.arange(6, dtype=np.float32).reshape(3, 2) / 10)
    network = openvino.Model([opset13.matmul(mean, weight, False, False)], [photos], "net")
    openvino.save_model(network, str(folder / "n.xml"), compress_to_fp16=False)
    return folder / "n.xml"


def write_tflite(path: Path) -> None:
    from models.tflite_files import mean_colour

    path.write_bytes(mean_colour())


def network_of(path: Path) -> object:
    """What a network computes, by its fingerprint: results of another are kept apart."""
    return load_classifier(str(path), notice=lambda text: None).fingerprint


def write_bundle(path: Path) -> None:
    explained(path.parent)
    write_store(path.parent / "s.db")
    assert main(["bundle", str(path.parent / "out"), str(path.parent / "s.db"), "-q", "-o", str(path)]) == 0


def evidence_in(path: Path) -> object:
    """What xai verify finds in a zip; a result that it calls damaged is refused."""
    found = []
    with ExitStack() as stack:
        for one in read_evidence(path, stack):
            if isinstance(one, Remade):
                raise InputError(one.why)
            found.append((one.row, one.recipe) if isinstance(one, KeptScore) else (one.record, one.attribution.values.tolist()))
    return sorted(map(repr, found))


def write_rows(folder: Path) -> Path:
    """A Parquet file as `xai score --sink` writes it."""
    from xaicli.results.parquet_folder import ParquetFolder
    from xaicli.results.row_table import PhotoRows, Records

    write_store(folder / "s.db")
    records = Records()
    with Store.open(folder / "s.db", write=False) as store:
        recipes, [run] = store.recipes(), store.runs()
        records.add(PhotoRows("hopper.jpg", "", 0, tuple(store.rows(curves=True))), recipes)
    return ParquetFolder(folder / "rows").write(records.table(), recipes, run)


def audit_of(path: Path) -> object:
    found = read_audit(path)
    return found.view, found.method, {key: mean.tolist() for key, mean in found.means.items()}, found.members, found.photos


KINDS: dict[str, Kind] = {
    "stores": Kind(file("s.db", write_store), all_of, checked=True),
    "stores, written to": Kind(file("s.db", write_store), all_after_writing, checked=True),
    **{
        f"stores of schema {version}": Kind(file("s.db", older_store(version)), all_after_writing)
        for version in range(1, len(schema.STEPS))
    },
    "sidecars": Kind(explained, load_record, checked=True),
    "maps of sidecars": Kind(lambda folder: explained(folder).with_suffix(".npy"), maps_of, checked=True),
    "baselines": Kind(baseline, baseline_of, checked=True),
    "maps of baselines": Kind(maps_of_baseline, baseline_of, checked=True),
    "checkpoints": Kind(
        file("c.safetensors", lambda path: write_checkpoint(path, STATE, {"method": "t-tame"})), checkpoint_of, True
    ),
    "arrays of others": Kind(file("a.npy", lambda path: np.save(path, np.eye(3, dtype=np.float32))), load_array),
    "weights (.pth)": Kind(file("w.pth", lambda path: torch.save(STATE, path)), read_weights),
    "weights (old .pth)": Kind(
        file("o.pth", lambda path: torch.save(STATE, path, _use_new_zipfile_serialization=False)), read_weights
    ),
    "weights (.safetensors)": Kind(file("w.safetensors", lambda path: safetensors.torch.save_file(STATE, path)), read_weights),
    "ONNX networks": Kind(file("n.onnx", write_onnx), network_of),
    "OpenVINO networks": Kind(write_openvino, network_of),
    "weights of OpenVINO networks": Kind(
        lambda folder: write_openvino(folder).with_suffix(".bin"), lambda path: network_of(path.with_suffix(".xml"))
    ),
    "TensorFlow Lite networks": Kind(file("n.tflite", write_tflite), network_of),
    "suites": Kind(file("xai.toml", write_suite), read_suite),
    "class names": Kind(file("names.json", lambda path: path.write_text(json.dumps(["cat", "dog", "tench"]))), read_classes),
    "audits": Kind(file("audit.json", write_audit), audit_of, checked=True),
    "evidence in a zip": Kind(file("evidence.zip", write_bundle), evidence_in, checked=True),
    "files of rows (Parquet)": Kind(write_rows, lambda path: all_of(path.parent)),
    "lists of labels": Kind(file("labels.csv", lambda path: path.write_text("image,label\na.png,cat\nb.png,dog\n")), read_labels),
    "lists of photos": Kind(file("list.txt", write_list), lambda path: find([f"@{path}"])),
}
