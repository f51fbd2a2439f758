"""Options that several commands share, and completion of their values."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.shell_completion import CompletionItem

from xaicli.cli.verbosity import Grouped, Verbosity
from xaicli.errors import UsageError, XaiError
from xaicli.models.catalogue import BUNDLED, DEFAULT

if TYPE_CHECKING:
    from xaicli.images.find import Source
    from xaicli.network.classifier import Classifier

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]


def option(group: str, *flags: str, **settings: Any) -> Decorator:
    """An option that stands under the heading `group`."""
    return click.option(*flags, cls=Grouped, group=group, **settings)


def stack(*decorators: Decorator) -> Decorator:
    """Several options as one decorator, in the order they are listed."""

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        for decorator in reversed(decorators):
            command = decorator(command)
        return command

    return decorate


def complete_definition(kind: str) -> Callable[[click.Context, click.Parameter, str], list[CompletionItem]]:
    """Completion of the last name in a comma-separated list of methods or metrics."""

    def complete(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
        from xaicli import builtin

        names = builtin.METHODS if kind == "method" else builtin.METRICS
        head, comma, last = incomplete.rpartition(",")
        return [CompletionItem(f"{head}{comma}{name}", help=row.summary) for name, row in names.items() if name.startswith(last)]

    return complete


def complete_model(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    from xaicli.models.catalogue import list_models

    return [CompletionItem(entry.spec, help=entry.summary) for entry in list_models() if entry.spec.startswith(incomplete)]


class Numbers(click.ParamType):
    """Numbers joined by commas, `count` of them where given; one number stands alone."""

    name = "numbers"

    def __init__(self, kind: type[int] | type[float], counts: tuple[int, ...]) -> None:
        self.kind, self.counts = kind, counts

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if isinstance(value, tuple | int | float):
            return value
        try:
            numbers = tuple(self.kind(part) for part in str(value).replace("x", ",").split(","))
        except ValueError:
            numbers = ()
        if len(numbers) not in self.counts:
            wanted = " or ".join(map(str, self.counts))
            self.fail(f"{value!r} is not {wanted} numbers joined by commas", param, ctx)
        return numbers[0] if len(numbers) == 1 and 1 in self.counts else numbers


class Colour(click.ParamType):
    """A colour by name or #rrggbb."""

    name = "colour"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if isinstance(value, tuple):
            return value
        from PIL import ImageColor

        try:
            return ImageColor.getrgb(value)[:3]
        except ValueError:
            self.fail(f"{value!r} is no colour; expected a name or #rrggbb", param, ctx)


image_options = stack(
    option("Photos", "--recursive", is_flag=True, help="Search folders below the folders given."),
    option("Photos", "-0", "null", is_flag=True, help="Paths on standard input end in NUL, not in a line break."),
    option("Photos", "--limit", type=click.IntRange(min=1), metavar="N", help="The first N photos only."),
    option(
        "Photos", "--frame", type=click.IntRange(min=0), default=0, metavar="N", help="Frame of animated or multi-page files."
    ),
    option(
        "Photos", "--background", type=Colour(), default="white", metavar="COLOUR", help="What shows through transparent parts."
    ),
)

model_options = stack(
    option(
        "Model",
        "-m",
        "--model",
        metavar="SPEC",
        shell_complete=complete_model,
        help=f"resnet50, timm:NAME, hf:OWNER/NAME, net.py:make, onnx:FILE (xai list models).  [default: {DEFAULT}]",
        show_default=False,
    ),
    option(
        "Model",
        "--weights",
        type=click.Path(path_type=str),
        metavar="FILE",
        help="A .safetensors or .pth file of weights for that model.",
    ),
    option(
        "Model",
        "--classes",
        type=click.Path(path_type=str),
        metavar="FILE",
        help="Class names: a line each, or CSV with a column name, or JSON.",
    ),
    option("Model", "--resize", type=Numbers(int, (1, 2)), metavar="N|H,W", help="Shorter side, or exact size, before the crop."),
    option("Model", "--crop", type=Numbers(int, (1, 2)), metavar="N|H,W", help="Centre crop."),
    option("Model", "--interpolation", metavar="NAME", help="bilinear, bicubic, nearest, lanczos, box."),
    option("Model", "--mean", type=Numbers(float, (3,)), metavar="R,G,B", help="Mean of the colours in 0..1."),
    option("Model", "--std", type=Numbers(float, (3,)), metavar="R,G,B", help="Standard deviation of the colours."),
    option("Model", "--device", default="auto", metavar="NAME", help="cpu, cuda, mps or auto."),
    option(
        "Model",
        "--precision",
        type=click.Choice(["auto", "fp32", "bf16"]),
        default="auto",
        help="auto: bf16 for masked passes where the machine has it, else fp32.",
    ),
    option("Model", "--offline", is_flag=True, help="Download nothing."),
)

MODEL_KEYS = ("model", "weights", "classes", "resize", "crop", "interpolation", "mean", "std", "device", "precision", "offline")


def open_classifier(given: dict[str, Any]) -> Classifier:
    """The classifier that the model options name; says which it is on stderr."""
    from xaicli.models.load import load_classifier
    from xaicli.passes.device import threads

    verbosity = Verbosity.current()
    click.get_current_context().with_resource(threads())
    choice = {key: given[key] for key in MODEL_KEYS if given.get(key) is not None}
    named = "model" in choice
    classifier = load_classifier(choice.pop("model", DEFAULT), **choice, progress=verbosity.shows_progress, notice=verbosity.say)
    others = "an ImageNet one: --model resnet50" if DEFAULT == "tiny" else "others: --model, xai list models"
    verbosity.say(f"model {describe_model(classifier, '' if named else others)}")
    return classifier


def describe_model(classifier: Classifier, others: str = "") -> str:
    """One line on a classifier; others: what is said of other ones."""
    height, width = classifier.view.size
    size = f"{height} px" if height == width else f"{height} x {width} px"
    known = f"{classifier.count} classes, {size}, {classifier.view.describe()}"
    if classifier.name in {entry.spec for entry in BUNDLED}:
        known = f"bundled, {classifier.count} everyday classes, {size}"
    device = "" if classifier.device.type == "cpu" else f", on {classifier.device}"
    return f"{classifier.name} ({known}{device}{'; ' if others else ''}{others})"


def find_sources(images: tuple[str, ...], given: dict[str, Any]) -> tuple[list[Source], list[XaiError]]:
    """The photos that the arguments and photo options name, and with --keep-going what could not be found.

    Raises UsageError where none is named, InputError where one is missing.
    """
    from xaicli.images.find import find

    if not images:
        raise UsageError(
            "no photo is named", expected="files, folders, globs, @list.txt or -", hint="First try: xai explain sample:hopper"
        )
    errors: list[XaiError] = []
    exclude = [Path(given["output"])] if given.get("output") else []
    sources = find(
        images,
        recursive=given["recursive"],
        null=given["null"],
        limit=given["limit"],
        frame=given["frame"],
        exclude=exclude,
        on_error=errors.append if given.get("keep_going") else None,
    )
    if not sources and errors:
        raise errors[0]
    return sources, errors
