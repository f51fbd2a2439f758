"""Options that several commands share, and completion of their values."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click
from click.shell_completion import CompletionItem

from xaicli.cli.command_progress import CommandProgress
from xaicli.cli.verbosity import Grouped
from xaicli.device_names import DEVICES, device_name
from xaicli.models.catalogue import DEFAULT
from xaicli.text_table import FORMATS

if TYPE_CHECKING:
    from xaicli.network.classifier import Classifier
    from xaicli.runs.open_model import NamedModel

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]


def option(group: str, *flags: str, **settings: Any) -> Decorator:
    """An option under the heading `group`."""
    return click.option(*flags, cls=Grouped, group=group, **settings)


def stack(*decorators: Decorator) -> Decorator:
    """Several options as one decorator, in the order they are listed."""

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        for decorator in reversed(decorators):
            command = decorator(command)
        return command

    return decorate


def gathered(into: type[Any], name: str, *decorators: Decorator) -> Decorator:
    """Options whose values reach the command as one dataclass, in its argument `name`; the fields have the options' names."""

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(command)
        def gathering(**values: Any) -> Any:
            own = {field.name: values.pop(field.name) for field in dataclasses.fields(into)}
            return command(**values, **{name: into(**own)})

        return stack(*decorators)(gathering)

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


class Format(click.Choice[str]):
    """A choice of output formats, some of which have a second name."""

    ALIASES = {"md": "markdown", "text": "table"}

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        return super().convert(self.ALIASES.get(value, value), param, ctx)


def format_option(formats: Sequence[str] = FORMATS, text: str = "What stdout shows.") -> Decorator:
    """The option --format, which reaches the command as `form`."""
    return option("Output", "--format", "form", type=Format(formats), default=formats[0], help=text)


class Numbers(click.ParamType):
    """Numbers joined by commas, as many as one of `counts` where given; a single number is then not put into a tuple."""

    name = "numbers"

    def __init__(self, kind: type[int] | type[float], counts: tuple[int, ...] = ()) -> None:
        self.kind, self.counts = kind, counts

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if isinstance(value, tuple | int | float):
            return value
        try:
            numbers = tuple(self.kind(part) for part in str(value).replace("x", ",").split(","))
        except ValueError:
            numbers = ()
        if not numbers or (self.counts and len(numbers) not in self.counts):
            wanted = f"{' or '.join(map(str, self.counts))} " if self.counts else ""
            self.fail(f"{value!r} is not {wanted}numbers joined by commas", param, ctx)
        return numbers[0] if len(numbers) == 1 and 1 in self.counts else numbers


@dataclass(frozen=True)
class PhotoOptions:
    """How the photos of a command are found and decoded; the fields have the names of the Python functions' parameters."""

    recursive: bool = False
    null: bool = False
    limit: int | None = None
    frame: int = 0
    background: str = "white"
    decode_timeout: float = 10.0

    def words(self) -> dict[str, Any]:
        """The values as parameters of the Python function."""
        return dataclasses.asdict(self)


@dataclass(frozen=True)
class ModelOptions:
    """The model that a command names; None: as the model's own weights define it."""

    model: str | None = None
    weights: str | None = None
    classes: str | None = None
    prompts: str | None = None
    template: tuple[str, ...] = ()
    resize: int | tuple[int, int] | None = None
    crop: int | tuple[int, int] | None = None
    interpolation: str | None = None
    channels: int | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    window: str | None = None
    input_scale: float | None = None
    input_order: str | None = None
    fast_decode: bool | None = None
    outputs: str | None = None
    output_name: str | None = None
    device: str = "auto"
    precision: str = "auto"
    engine: str = "auto"
    offline: bool = False

    def load_options(self) -> dict[str, Any]:
        """What the command line says of the model, as further arguments of `load_classifier`."""
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self) if field.name != "model"}
        return {name: value for name, value in values.items() if value not in (None, ())}

    @property
    def named(self) -> NamedModel:
        """The model as any process can open it, and as this one does."""
        from xaicli.runs.open_model import NamedModel

        return NamedModel(self.model, self.load_options(), self.open)

    def open(self, **frames: int) -> Classifier:
        """Load the classifier, and say on stderr which it is; frames: what a run says of the frames that it reads."""
        from xaicli.passes.device import threads
        from xaicli.runs.open_model import open_model

        progress = CommandProgress()
        click.get_current_context().with_resource(threads())
        bars = progress.verbosity.shows_progress
        return open_model(self.model, progress=progress, bars=bars, frames=frames, **self.load_options())


recursive_option = option("Photos", "--recursive", is_flag=True, help="Search folders below the folders given.")
limit_option = option(
    "Photos", "--limit", type=click.IntRange(min=1), metavar="N", help="Only the first N photos.  [default: all]"
)


def complete_device(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    return [CompletionItem(name) for name in DEVICES if name.startswith(incomplete)]


device_option = option(
    "Model",
    "--device",
    type=device_name,
    default="auto",
    metavar="NAME",
    shell_complete=complete_device,
    help="cpu, cuda, mps or auto.",
)

image_options = gathered(
    PhotoOptions,
    "photos",
    recursive_option,
    option("Photos", "-0", "null", is_flag=True, help="Paths on standard input end in NUL instead of a line break."),
    limit_option,
    option(
        "Photos", "--frame", type=click.IntRange(min=0), default=0, metavar="N", help="Frame of animated or multi-page files."
    ),
    option("Photos", "--background", default="white", metavar="COLOUR", help="The colour behind transparent parts."),
    option(
        "Photos",
        "--decode-timeout",
        type=click.FloatRange(min=0, min_open=True),
        default=10.0,
        metavar="S",
        help="Maximum seconds to decode a photo.",
    ),
)

model_options = gathered(
    ModelOptions,
    "model",
    option(
        "Model",
        "-m",
        "--model",
        metavar="SPEC",
        shell_complete=complete_model,
        help=f"resnet50, timm:NAME, hf:OWNER/NAME, open-clip:NAME, net.py, onnx:FILE (xai list models).  [default: {DEFAULT}]",
        show_default=False,
    ),
    option(
        "Model",
        "--weights",
        type=click.Path(path_type=str),
        metavar="FILE",
        help="A .safetensors or .pth file of weights for that model.  [default: the model's own]",
    ),
    option(
        "Model",
        "--classes",
        type=click.Path(path_type=str),
        metavar="FILE",
        help="Class names: one per line, or CSV with a column name, or JSON.  [default: the model's own]",
    ),
    option(
        "Model",
        "--prompts",
        metavar="TEXT,...",
        help="Of a text-image model: the texts that are its classes; a comma in one takes a backslash (not in --classes FILE).",
    ),
    option(
        "Model", "--template", multiple=True, metavar="TEXT", help='A sentence for each prompt: "a photo of a {}"; may repeat.'
    ),
    option(
        "Model",
        "--resize",
        type=Numbers(int, (1, 2)),
        metavar="N|H,W",
        help="Shorter side, or exact size, before the crop.  [default: as trained]",
    ),
    option("Model", "--crop", type=Numbers(int, (1, 2)), metavar="N|H,W", help="Centre crop.  [default: as trained]"),
    option("Model", "--interpolation", metavar="NAME", help="bilinear, bicubic, nearest, lanczos, box.  [default: as trained]"),
    option("Model", "--channels", type=click.IntRange(min=1), metavar="N", help="Channels of the input.  [default: found]"),
    option(
        "Model",
        "--mean",
        type=Numbers(float),
        metavar="R,G,B|N,…",
        help="Mean of each channel, pixels in 0..1.  [default: as trained]",
    ),
    option(
        "Model",
        "--std",
        type=Numbers(float),
        metavar="R,G,B|N,…",
        help="Standard deviation of each channel.  [default: as trained]",
    ),
    option(
        "Model",
        "--window",
        metavar="LOW:HIGH|…",
        help="Black and white of photos of more than 8 bits; or percentile, or full.  [default: as the file declares]",
    ),
    option(
        "Model", "--input-scale", type=float, metavar="N", help="What white is before mean and std: 255 for bytes.  [default: 1]"
    ),
    option("Model", "--input-order", type=click.Choice(("rgb", "bgr")), help="Blue first, or red.  [default: rgb]"),
    option(
        "Model",
        "--fast-decode",
        is_flag=True,
        default=None,
        help="Decode JPEGs much larger than the input at 1/2, 1/4 or 1/8 of their size; results are stamped with it.",
    ),
    option(
        "Model",
        "--outputs",
        type=click.Choice(("softmax", "sigmoid", "values")),
        help="softmax: one class is right; sigmoid: independent labels; values: quantities.  [default: detected]",
    ),
    option("Model", "--output-name", metavar="KEY|INDEX", help="Which entry of a tuple or dict of outputs to explain."),
    device_option,
    option(
        "Model",
        "--precision",
        type=click.Choice(["auto", "fp32", "bf16"]),
        default="auto",
        help="auto: bf16 for masked passes if the machine has it, else fp32; trainings in fp32.",
    ),
    option(
        "Model",
        "--engine",
        type=click.Choice(["auto", "torch", "compile", "openvino", "onnxruntime"]),
        default="auto",
        help="What runs passes without gradients, checked against torch on the first photo of a process. compile: torch.compile, "
        "on a GPU as CUDA graphs. auto: OpenVINO or ONNX Runtime for 1,000 float32 passes or more, if installed.",
    ),
    option("Model", "--offline", is_flag=True, help="Download nothing."),
)


bands_option = option(
    "Output",
    "--bands",
    default="",
    show_default=False,
    metavar="R+G+B|N",
    help="Bands of a photo that are drawn, numbered from 1.  [default: the first three, or grey]",
)


INPUTS_PER_PASS = "Maximum inputs per pass, photos or masked copies; changes no result."


def batch_size_option(default: str = "what fits", text: str = INPUTS_PER_PASS) -> Decorator:
    """The option --batch-size: how many inputs, photos and masked copies alike, the network gets at a time."""
    return option("Running", "--batch-size", type=click.IntRange(min=1), metavar="N", help=f"{text}  [default: {default}]")


cluster_options = stack(
    option("Cluster", "--ray", metavar="auto|local|HOST:PORT", help="Hand the photos to a Ray cluster.  [default: this process]"),
    option(
        "Cluster", "--actors", type=click.IntRange(min=1), metavar="N", help="Actors, each with a model.  [default: all that fit]"
    ),
    option(
        "Cluster", "--block", type=click.IntRange(min=1), metavar="N", help="Photos handed out at a time.  [default: up to 32]"
    ),
)


def figure_options(what: str, *, columns: bool = True) -> Decorator:
    """The options of a figure for papers."""
    several = option(
        "Figure", "--figure-columns", type=click.IntRange(min=1), default=2, metavar="N", help="Panels side by side."
    )
    return stack(
        option("Figure", "--figure", type=click.Path(path_type=str), metavar="FILE", help=f"{what}: FILE.pdf, .svg or .png."),
        option(
            "Figure", "--figure-width", type=click.FloatRange(min=2, max=100), default=16.0, metavar="CM", help="Its width in cm."
        ),
        *([several] if columns else []),
        option("Figure", "--dpi", type=click.IntRange(30, 1200), default=300, metavar="N", help="Dots per inch of its pictures."),
    )
