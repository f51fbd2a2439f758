"""Code of others that does what it must not: models, methods and metrics as text, with places for each attack."""

from __future__ import annotations

RAISING = {
    "ends the program": "sys.exit(0)",
    "ends the program with 1": "raise SystemExit(1)",
    "closes generators": "raise GeneratorExit",
    "stops an iteration": "raise StopIteration",
    "raises what is no Exception": "raise Odd('x')",
    "raises what cannot be shown": "raise Mute()",
    "raises a long text": "raise ValueError('long ' * 9999)",
    "raises text with control characters": "raise ValueError('\\x1b[31m\\n red')",
    "recurses for ever": "deep()",
}
"""What code of others may do at any place."""

HEAD = """
import sys, os, torch
from dataclasses import dataclass
class Odd(BaseException): pass
class Mute(BaseException):
    def __str__(self): raise Odd('no text')
def deep(): return deep()
"""

NET = (
    HEAD
    + """
class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.features, self.calls = torch.nn.Conv2d(3, 5, 3), 0
        # Features are positive and differ from place to place, so that no map is constant.
        torch.nn.init.constant_(self.features.weight, 0.01)
        torch.nn.init.constant_(self.features.bias, 1)
    def forward(self, inputs):
        self.calls += 1
        maps = self.features(inputs)
        {forward}
        return maps.mean((2, 3))
    {member}
def make():
    {make}
    return Net()
"""
)

METHOD = (
    HEAD
    + """
from xaicli.method import Cost, Maps, Method, Sign
@dataclass(frozen=True, kw_only=True)
class Hostile(Method):
    \"\"\"Explains nothing.\"\"\"
    name = "hostile"
    @property
    def sign(self):
        {sign}
        return Sign.SIGNED
    def cost(self, classifier=None):
        {cost}
        return Cost(forward=1)
    def require(self, classifier):
        {require}
    def attribute(self, classifier, inputs, targets, seeds):
        logits = classifier(inputs)
        chosen = targets.resolve(logits)
        values = inputs.mean(dim=1, keepdim=True).expand(-1, chosen.classes.shape[1], -1, -1)
        {attribute}
        return Maps(values, chosen, logits)
"""
)

METRIC = (
    HEAD
    + """
from xaicli.metric import Direction, Metric, Scores
@dataclass(frozen=True, kw_only=True)
class Hostile(Metric):
    \"\"\"Scores nothing.\"\"\"
    name = "hostile"
    direction = Direction.HIGHER
    range = (0.0, 1.0)
    def score(self, case):
        values = case.maps.mean(dim=(1, 2))
        {score}
        return Scores(values)
"""
)

NONSENSE = {
    "None": "return None",
    "no Maps": "return values",
    "an array": "return Maps(values.numpy(), chosen, logits)",
    "too few rows": "return Maps(values[:0], chosen, logits)",
    "a wrong shape": "return Maps(values[:, 0], chosen, logits)",
    "an empty map": "return Maps(values[..., :0], chosen, logits)",
    "more targets": "return Maps(values.expand(-1, 3, -1, -1), chosen, logits)",
    "complex numbers": "return Maps(values.cfloat(), chosen, logits)",
    "whole numbers": "return Maps(values.long(), chosen, logits)",
    "huge maps": "return Maps(torch.zeros(1).expand(len(inputs), 1, 20000, 20000), chosen, logits)",
    "no logits": "return Maps(values, chosen, None)",
    "no targets": "return Maps(values, None, logits)",
    "extras that are no tensors": "return Maps(values, chosen, logits, {{'a': 3}})",
}

OUTPUTS = {
    "None": "return None",
    "too few rows": "return maps.mean((2, 3))[:0]",
    "a wrong shape": "return maps",
    "complex numbers": "return maps.mean((2, 3)).cfloat()",
    "other columns": "return maps.mean((2, 3))[:, :3]",
    "a tuple": "return maps.mean((2, 3)), maps",
}

SCORES = {
    "None": "return None",
    "a number": "return 3",
    "too few": "return Scores(values[:0])",
    "an array": "return Scores(values.numpy())",
    "complex numbers": "return Scores(values.cfloat())",
    "odd curves": "return Scores(values, {{}}, (torch.zeros(3), torch.zeros(1, 2)))",
}
LATER = "if self.calls > 2: "
"""The first two passes are the trial when a model is loaded."""
PRINTING = "print('NOISE'); os.write(1, b'RAW\\n'); os.system('echo CHILD'); sys.__stdout__.write('OLD\\n')"
"""What a model may print, and how."""


def filled(template: str, **places: str) -> str:
    for name in ("forward", "member", "make", "sign", "cost", "require", "attribute", "score"):
        template = template.replace(f"{{{name}}}", places.get(name, "pass"))
    return template.replace("{{", "{").replace("}}", "}")


def only_line(err: str) -> str:
    (line,) = [line for line in err.splitlines() if line.startswith("error: ")]
    assert "Traceback" not in err
    assert "fault in xai itself" not in err
    assert len(line) < 600
    return line
