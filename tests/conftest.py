"""Fixtures that many tests share: real assets, tiny networks with known answers, tiny photos."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import hypothesis
import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from xaicli.images.view import View
from xaicli.method import Needs
from xaicli.network.classifier import Classifier
from xaicli.network.modes import eval_mode

ROOT = Path(__file__).resolve().parents[1]
ASSETS = Path(os.environ.get("XAI_ASSETS", ROOT.parent / "shared" / "assets"))

# On a busy machine an example may take any time.
hypothesis.settings.register_profile("patient", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("patient")

torch.set_num_threads(int(os.environ.get("XAI_TEST_THREADS", "1")))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Tests marked `real` are skipped where the assets are absent, except where XAI_REQUIRE_ASSETS says that they must run."""
    if ASSETS.is_dir() or os.environ.get("XAI_REQUIRE_ASSETS"):
        return
    skip = pytest.mark.skip(reason=f"real weights and photos not found at {ASSETS}; set XAI_ASSETS to their folder")
    for item in items:
        if "real" in item.keywords:
            item.add_marker(skip)


def pytest_runtest_setup() -> None:
    """Each test begins at the same random state, so that no result depends on which tests ran before."""
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def assets() -> Path:
    """The folder of real weights and photos."""
    assert ASSETS.is_dir(), f"no assets at {ASSETS}"
    return ASSETS


@pytest.fixture(autouse=True)
def _no_user_settings(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests see neither the user's cache nor the user's configuration."""
    home = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("XAI_CACHE", str(home / "cache"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(home / "config"))


class TinyCNN(nn.Module):
    """Three convolutions and a linear head over the spatial mean: the Grad-CAM of such a network is exact."""

    def __init__(self, classes: int = 5, width: int = 8) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, width, 3, stride=2, padding=1),
            nn.BatchNorm2d(width),
            nn.ReLU(inplace=True),
            nn.Conv2d(width, width, 3, stride=2, padding=1),
            nn.BatchNorm2d(width),
            nn.ReLU(inplace=True),
            nn.Conv2d(width, 2 * width, 3, padding=1),
        )
        self.head = nn.Linear(2 * width, classes)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.head(self.features(inputs).mean(dim=(2, 3)))


@pytest.fixture
def tiny_cnn() -> nn.Module:
    """An untrained TinyCNN with fixed weights, in eval mode, parameters frozen."""
    generator = torch.Generator().manual_seed(7)
    model = TinyCNN()
    with torch.no_grad():
        for tensor in model.parameters():
            tensor.copy_(torch.randn(tensor.shape, generator=generator) * 0.3)
        for name, buffer in model.named_buffers():
            if name.endswith("running_var"):
                buffer.copy_(torch.rand(buffer.shape, generator=generator) + 0.5)
    return model.eval().requires_grad_(False)


@pytest.fixture
def tiny_vit() -> nn.Module:
    """An untrained torchvision VisionTransformer of two blocks on 32 x 32 pixels, 8-pixel patches: a 4 x 4 token grid."""
    from torchvision.models.vision_transformer import VisionTransformer

    with torch.random.fork_rng():
        torch.manual_seed(11)
        model = VisionTransformer(
            image_size=32, patch_size=8, num_layers=2, num_heads=2, hidden_dim=16, mlp_dim=32, num_classes=5
        )
        nn.init.normal_(model.heads.head.weight, std=0.5)
    return model.eval().requires_grad_(False)


@pytest.fixture
def classifier_of() -> Callable[..., Classifier]:
    """A function that makes a classifier of a module, or of a plain function as a black box.

    `classifier_of(module, size=(32, 32), count=5, layer="auto", ...)`: without `count` a module is tried out, a black box has 5.
    """

    def make(
        network: Callable[[Tensor], Tensor], size: tuple[int, int] = (32, 32), count: int | None = None, **settings: Any
    ) -> Classifier:
        module = network if isinstance(network, nn.Module) else None
        if count is None:
            count = 5 if module is None else outputs_of(module, size)
        view = View(resize=size, crop=None, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
        all_but_trained = Needs.FORWARD | Needs.GRADIENTS | Needs.FEATURES | Needs.ATTENTION
        provides = Needs.FORWARD if module is None else all_but_trained
        name = "black-box" if module is None else type(module).__name__
        return Classifier(network, module, name, view, (), count, provides, "0" * 16, **settings)

    return make


def outputs_of(module: nn.Module, size: tuple[int, int]) -> int:
    """How many outputs a module has, in the mode it is in afterwards too."""
    with eval_mode(module), torch.no_grad():
        return module(torch.zeros(1, 3, *size)).shape[1]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Path]]:
    """Lay out an installed distribution, as a package installer would, in a folder of its own on the path.

    `install(code, {name: target}, name="xai-brightness", group="xaicli.methods")`; the module is called like the distribution.
    """
    before = set(sys.modules)

    def lay_out(code: str | None, points: dict[str, str], *, name: str = "xai-brightness", group: str = "xaicli.methods") -> Path:
        site = tmp_path / "site" / name
        module = name.replace("-", "_")
        info = site / f"{module}-1.2.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.2\nSummary: Explains by brightness.\n")
        (info / "entry_points.txt").write_text(f"[{group}]\n" + "".join(f"{key} = {value}\n" for key, value in points.items()))
        if code is not None:
            (site / f"{module}.py").write_text(code)
        monkeypatch.syspath_prepend(str(site))
        importlib.invalidate_caches()
        return site

    yield lay_out
    for module in set(sys.modules) - before:
        if module.startswith("xai_"):
            del sys.modules[module]


@pytest.fixture
def photo_batch() -> Tensor:
    """Five preprocessed inputs (5, 3, 32, 32): smooth, different, fixed."""
    generator = torch.Generator().manual_seed(3)
    coarse = torch.randn(5, 3, 8, 8, generator=generator)
    return nn.functional.interpolate(coarse, size=(32, 32), mode="bilinear", align_corners=False)


@pytest.fixture
def photo_folder(tmp_path: Path) -> Path:
    """A folder of four small photos of different sizes, one of them PNG."""
    folder = tmp_path / "photos"
    folder.mkdir()
    rng = np.random.default_rng(5)
    for name, (width, height) in {"a.jpg": (60, 40), "b.jpg": (40, 60), "c.png": (33, 47), "d.jpg": (64, 64)}.items():
        coarse = Image.fromarray(rng.integers(0, 256, (6, 6, 3), dtype=np.uint8))
        coarse.resize((width, height), Image.Resampling.BICUBIC).save(folder / name)
    return folder


def paint(path: Path, colour: int, seed: int, side: int = 16) -> None:
    """A dark noisy picture with a bright square of one colour."""
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, 80, (side, side, 3), dtype=np.uint8)
    row, column = rng.integers(0, side // 2, 2)
    pixels[row : row + side // 2, column : column + side // 2, colour] = 255
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


@pytest.fixture(scope="session")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`train` and `val`, each with one folder a class: 24 and 6 photos, 16 x 16 pixels, told apart by colour."""
    root = tmp_path_factory.mktemp("toy")
    for split, count in (("train", 8), ("val", 2)):
        for colour, name in enumerate(("red", "green", "blue")):
            for number in range(count):
                paint(root / split / name / f"{number}.png", colour, seed=hash((split == "val", colour, number)) % 2**31)
    return root


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The files of a server on loopback that speaks as S3 does; s3:// leads there meanwhile."""
    server, s3fs = pytest.importorskip("moto.server"), pytest.importorskip("s3fs")
    for name, value in (("AWS_ACCESS_KEY_ID", "x"), ("AWS_SECRET_ACCESS_KEY", "x"), ("AWS_DEFAULT_REGION", "us-east-1")):
        monkeypatch.setenv(name, value)
    running = server.ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    running.start()
    try:
        host, port = running.get_host_and_port()
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
        s3fs.S3FileSystem.clear_instance_cache()
        yield s3fs.S3FileSystem()
    finally:
        running.stop()
        s3fs.S3FileSystem.clear_instance_cache()
