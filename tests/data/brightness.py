"""What a third party's plugin looks like: a method of one file, without any of our tests or folders."""

from dataclasses import dataclass

from xaicli.method import Cost, Maps, Method, Needs, Sign, param


@dataclass(frozen=True, kw_only=True)
class Brightness(Method):
    """Mean of the colours of each pixel."""

    gain: float = param(1.0, "factor", gt=0)

    name = "brightness"
    needs = Needs.FORWARD
    sign = Sign.SIGNED

    def cost(self, classifier=None):
        return Cost(forward=1)

    def attribute(self, classifier, inputs, targets, seeds):
        logits = classifier(inputs)
        return Maps(self.gain * inputs.mean(dim=1, keepdim=True), targets.resolve(logits), logits)
