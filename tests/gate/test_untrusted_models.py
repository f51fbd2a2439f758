"""What an untrusted suite names as a model, by itself or as a parameter of a method: no code, no download."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import pytest

from xaicli.errors import InputError, RunError, UsageError
from xaicli.gate.measure import ReadySuite
from xaicli.gate.measure import make_ready as make_suite_ready
from xaicli.gate.suite import read_suite
from xaicli.models import load
from xaicli.models.model_request import Request

OPENING = """
from dataclasses import dataclass
from xaicli.method import Cost, Maps, Method, Sign
from xaicli.models.load import load_classifier
from xaicli.needs import Needs
@dataclass(frozen=True, kw_only=True)
class Opening(Method):
    \"\"\"Looks at another network, as p-tame does.\"\"\"
    name = "opening"
    needs = Needs.FORWARD
    sign = Sign.SIGNED
    other: str = "SPEC"
    def cost(self, classifier=None):
        return Cost(forward=1)
    def require(self, classifier):
        load_classifier("SPEC", trust=True)
    def attribute(self, classifier, inputs, targets, seeds):
        raise AssertionError
"""


@pytest.fixture
def suite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., ReadySuite]:
    """The suite of that model and method, made ready; the network is out of reach, and nothing is on this machine."""

    def refuse(request: Request) -> NoReturn:
        assert request.offline, "a download was tried"
        raise InputError(f"the weights of {request.name} are not on this machine, but --offline forbids the download")

    for source in ("torchvision", "timm", "hf"):
        monkeypatch.setitem(load.SOURCES, source, refuse)
    monkeypatch.setattr(load.from_torchvision, "load", refuse)
    monkeypatch.chdir(tmp_path)

    def made(model: str, *, method: str = "grad-cam", trust: bool = False) -> ReadySuite:
        (tmp_path / "xai.toml").write_text(f'model = "{model}"\nimages = ["sample:hopper"]\nmethods = ["{method}"]')
        return make_suite_ready(read_suite(tmp_path / "xai.toml"), trust=trust)

    return made


@pytest.mark.parametrize("spec", ["hf:somebody/net", "timm:hf-hub:somebody/net", "torchvision:resnet50", "resnet50"])
def test_a_suite_downloads_only_where_it_is_trusted(spec: str, suite: Callable[..., ReadySuite]) -> None:
    with pytest.raises(
        UsageError, match=r"not on this machine, and it would be downloaded\. Where you trust what names it, add --trust"
    ):
        suite(spec)
    with pytest.raises(RunError, match="a download was tried"):
        suite(spec, trust=True)


@pytest.mark.parametrize(("spec", "told"), [("resnet50", "would be downloaded"), ("net.py:make", "would run the code")])
def test_a_method_of_an_untrusted_suite_opens_no_other_network(
    spec: str, told: str, suite: Callable[..., ReadySuite], install: Callable[..., Path]
) -> None:
    install(OPENING.replace("SPEC", spec), {"opening": "xai_opening:Opening"}, name="xai-opening")
    Path("net.py").write_text("raise AssertionError('it ran')")
    with pytest.raises(UsageError, match=f"{told}.*--trust"):
        suite("tiny", method="opening")
