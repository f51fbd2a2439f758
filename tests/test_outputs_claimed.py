"""Every file that a command writes: never over a file of others, never over one that the command line names as an input."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from xaicli.cli.main import main
from xaicli.named_files import files_named

NET = Path(__file__).resolve().parent / "data" / "net.py"
MODEL = ("--model", f"{NET}:make", "--crop", "32", "--resize", "32")
STEPPED = ("--model", "tiny-vit", "--method", "daam", "--target", "top1", "--steps", "--animate", "gif")
CAM = ("--method", "grad-cam", "--metric", "sparseness", "--no-controls")
TRAIN = ("train", "classifier", "--model", "tiny@widths=6+8@blocks=1", "--data", "classes", "--epochs", "1")
PARITY = ("parity", f"{NET}:make", f"{NET}:make", "a.png", "--method", "center", "--metric", "sparseness")
BANK = ("bank", "classes", *MODEL)

WRITERS: dict[str, tuple[tuple[str, ...], str]] = {
    "explain: map": (("explain", "a.png", *MODEL, "--method", "center", "-o", "."), "a.center.npy"),
    "explain: overlay": (("explain", "a.png", *MODEL, "--method", "center", "-o", "."), "a.center.png"),
    "explain: sheet": (("explain", "a.png", *MODEL, "--method", "center", "-o", ".", "--sheet"), "sheet.png"),
    "explain: figure": (("explain", "a.png", *MODEL, "--method", "center", "-o", ".", "--figure", "f.pdf"), "f.pdf"),
    "explain: steps": (("explain", "a.png", *STEPPED, "-o", "."), "a.daam.steps.png"),
    "explain: moving steps": (("explain", "a.png", *STEPPED, "-o", "."), "a.daam.steps.gif"),
    "compare: sheet": (("compare", "a.png", *MODEL, *CAM, "-o", "."), "compare.png"),
    "compare: figure": (("compare", "a.png", *MODEL, *CAM, "-o", ".", "--figure", "f.svg"), "f.svg"),
    "compare: store": (("compare", "a.png", *MODEL, *CAM, "-o", "."), "compare.db"),
    "score: store": (("score", "a.png", *MODEL, *CAM, "-o", "s.db"), "s.db"),
    "train: checkpoint": ((*TRAIN, "-o", "my.safetensors"), "my.safetensors"),
    "train: curve": ((*TRAIN, "-o", "my.safetensors"), "my.curve.png"),
    "bank": ((*BANK, "-o", "bank.safetensors"), "bank.safetensors"),
    "check: picture": (("check", "-o", "shown"), "shown/a.grad-cam.xai-check.png"),
    "check: page": (("check", "-o", "shown"), "shown/check.html"),
    "parity: picture": ((*PARITY, "-o", "shown"), "shown/a.center.xai-check.png"),
    "parity: page": ((*PARITY, "-o", "shown"), "shown/parity.html"),
}
REPLACES = ("explain", "train", "bank")
"""Commands that replace files of others under --overwrite."""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder: a photo, photos of two classes, a suite."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(3)
    for name in ("a.png", *(f"classes/{kind}/{number}.png" for kind in "xy" for number in range(4))):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)).save(name)
    Path("xai.toml").write_text(f'model = "{NET}:make"\nimages = ["a.png"]\nmethods = ["grad-cam"]\nmetrics = []\n')
    return tmp_path


def refused(words: tuple[str, ...], output: str, content: bytes) -> None:
    Path(output).parent.mkdir(exist_ok=True)
    Path(output).write_bytes(content)
    before = sorted(str(path) for path in Path().rglob("*"))
    # A store says by itself that it is none: that is an input that cannot be used.
    assert main([*words, "-q"]) in ((2, 3) if output.endswith(".db") else (2,))
    assert Path(output).read_bytes() == content
    assert sorted(str(path) for path in Path().rglob("*")) == before


@pytest.mark.parametrize("name", WRITERS)
def test_a_file_of_others_stays_and_nothing_is_done(name: str, folder: Path) -> None:
    words, output = WRITERS[name]
    refused(words, output, b"a file of somebody else's\n" * 20)


@pytest.mark.parametrize(
    "name", [name for name in WRITERS if not name.startswith(("explain: moving", "compare: store", "score"))]
)
def test_a_file_that_the_run_reads_stays_even_when_all_may_be_replaced(name: str, folder: Path) -> None:
    words, output = WRITERS[name]
    force = ("--overwrite",) if words[0] in REPLACES else ()
    given = ("--weights", output) if words[0] == "check" else ("--classes", output)
    names = [f"{at},c{at}" for at in range(200 if "tiny-vit" in words else 4)]
    refused((*words, *given, *force), output, "\n".join(names).encode())


@pytest.mark.parametrize("name", [name for name in WRITERS if not name.startswith(("check", "parity"))])
def test_what_is_asked_for_is_written(name: str, folder: Path) -> None:
    words, output = WRITERS[name]
    assert main([*words, "-q"]) == 0
    assert Path(output).stat().st_size > 0


@pytest.mark.parametrize("words", [("score", "a.png", *MODEL, *CAM), ("merge", "s.db", "t.db")])
@pytest.mark.parametrize("name", ["-", "figure.pdf", "rows.CSV", "rows.parquet"])
def test_a_store_never_gets_the_name_of_a_table_or_picture(
    words: tuple[str, ...], name: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*words, "-o", name, "-q"]) == 2
    assert "xai export" in capsys.readouterr().err
    assert not Path(name).exists()


NOWHERE: dict[str, tuple[str, ...]] = {
    "explain": ("explain", "broken.png", *MODEL, "--method", "center", "-o", "PLACE"),
    "explain: figure": ("explain", "broken.png", *MODEL, "--method", "center", "-o", "out", "--figure", "PLACE/f.pdf"),
    "compare": ("compare", "broken.png", *MODEL, *CAM, "-o", "PLACE"),
    "compare: figure": ("compare", "broken.png", *MODEL, *CAM, "-o", "out", "--figure", "PLACE/f.pdf"),
    "score": ("score", "broken.png", *MODEL, *CAM, "-o", "PLACE/s.db"),
    "audit": ("audit", "broken.png", "a.png", "classes/x/0.png", *MODEL, "--no-clusters", "-o", "PLACE"),
    "aggregate": ("aggregate", "broken.png", *MODEL, "-o", "PLACE"),
    "parity": ("parity", *PARITY[1:3], "broken.png", "--method", "center", "-o", "PLACE"),
    "trust": ("trust", f"{NET}:make", "broken.png", "--method", "center", "-o", "PLACE"),
    "check": ("check", "--trust", "-o", "PLACE"),
    "train": (*TRAIN, "-o", "PLACE/my.safetensors"),
    "bank": (*BANK, "-o", "PLACE/bank.safetensors"),
    "report": ("report", "s.db", "-o", "PLACE/r.html"),
    "report: figure": ("report", "s.db", "--figure", "PLACE/f.pdf"),
    "export": ("export", "s.db", "-o", "PLACE/r.csv"),
    "merge": ("merge", "s.db", "-o", "PLACE/all.db"),
    "bundle": ("bundle", "s.db", "-o", "PLACE/e.zip"),
}


@pytest.mark.parametrize("name", NOWHERE)
def test_a_place_that_can_never_be_is_refused_before_any_photo_is_read(
    name: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A file where a folder must be; a photo that is broken would be named if it were read."""
    words = [word.replace("PLACE", "file.txt") for word in NOWHERE[name]]
    if "s.db" in words:
        assert main(["score", "a.png", *MODEL, *CAM, "-o", "s.db", "-q"]) == 0
    if words[0] == "check":
        assert main(["baseline", "--trust", "-q"]) == 0
    Path("file.txt").write_text("of somebody else")
    for broken in ("broken.png", *(["a.png"] if words[0] == "check" else [])):
        Path(broken).write_bytes(b"no picture")
    capsys.readouterr()
    assert main([*words, "-q"]) == 3
    told = capsys.readouterr().err
    assert "file.txt" in told
    assert "cannot be written" in told or "cannot be opened" in told
    assert Path("file.txt").read_text() == "of somebody else"


def test_files_are_found_wherever_a_call_names_them(folder: Path) -> None:
    for name in ("list.txt", "w.pth", "my.py", "bank.st", "out.db"):
        Path(name).touch()
    words = {"images": ["@list.txt"], "classifier": "my.py:make", "method": "daam@bank=bank.st,center", "weights": Path("w.pth")}
    assert {str(path) for path in files_named({**words, "output": "out.db"})} == {"list.txt", "my.py", "bank.st", "w.pth"}
