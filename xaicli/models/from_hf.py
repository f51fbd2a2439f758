"""Networks of transformers, from the hub or a folder; the processor's settings become the view."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from xaicli.errors import InputError, XaiError
from xaicli.models.fit import fit
from xaicli.models.hf_detectors import detector, finds_objects
from xaicli.models.hf_text_image import reads_texts, text_image_classifier
from xaicli.models.hf_view import measure_colours, view_of
from xaicli.models.hub import cannot_load, hub
from xaicli.models.model_request import LoadedModel, Request
from xaicli.models.weights import read_weights
from xaicli.outputs import Outputs
from xaicli.packages import import_torchvision, require
from xaicli.untrusted import is_file, is_folder

PLACEHOLDER = re.compile(r"LABEL_\d+")
PROBLEMS = {
    "single_label_classification": Outputs.SOFTMAX,
    "multi_label_classification": Outputs.SIGMOID,
    "regression": Outputs.VALUES,
}
"""The kind of outputs for each `problem_type` of a configuration."""


PROCESSORS = ("preprocessor_config.json", "processor_config.json")
"""The files of an image processor: alone, or with a tokenizer."""


class LogitsOnly(nn.Module):
    """A network of transformers that returns only its logits; `reverse`: it expects blue, green, red."""

    def __init__(self, model: nn.Module, reverse: bool) -> None:
        super().__init__()
        self.model = model
        self.reverse = reverse

    def forward(self, inputs: Tensor) -> Tensor:
        output = self.model(pixel_values=inputs.flip(1) if self.reverse else inputs)
        # Some outputs have logits under another name.
        logits: Tensor = output.logits if hasattr(output, "logits") else output.last_hidden_state
        return logits


def load(request: Request) -> LoadedModel:
    """A classifier by repository (`OWNER/NAME`, `flag` is a revision) or by folder."""
    import_torchvision()
    transformers = require("transformers", "hf")
    folder = Path(request.name).expanduser()
    local = is_folder(folder)
    if not local and request.name.startswith((".", "/", "~")):
        raise InputError(f"there is no folder {request.name}", expected="one that save_pretrained wrote, with a config.json")
    if local and not is_file(folder / "config.json"):
        raise InputError(f"{request.name} holds no config.json", expected="a folder that save_pretrained wrote")
    if local and not any(is_file(folder / name) for name in PROCESSORS):
        raise InputError(f"{request.name} holds no preprocessor_config.json", hint="Save the image processor there too.")
    if local:
        request.refuse_flag("A folder has no revisions.")
    # Building draws initial weights; the caller's random state stays as it was.
    with torch.random.fork_rng(devices=[]):
        model, processor = fetch(transformers, str(folder) if local else request.name, local, request)
    model = model.float()
    name = request.canonical("hf", folder.resolve().name if local else request.name)
    if reads_texts(transformers, model.config):
        with hub_client(request, local) as where:
            tokenizer = transformers.AutoTokenizer.from_pretrained(str(folder) if local else request.name, **where)
        return text_image_classifier(model, processor, tokenizer, name, request)
    require_photos(f"hf:{request.name}", model)
    colours = measure_colours(processor, getattr(model.config, "num_channels", 3))
    if finds_objects(model.config):
        return detector(model, processor, colours, name, names_of(model.config, model.config.num_labels))
    view = view_of(processor, colours, f"hf:{request.name}", request.notice)
    return LoadedModel(
        name,
        view,
        module=LogitsOnly(model, colours.reverse),
        classes=names_of(model.config, model.config.num_labels),
        outputs=PROBLEMS.get(model.config.problem_type),
    )


def fetch(transformers: ModuleType, place: str, local: bool, request: Request) -> tuple[Any, Any]:
    """The model and its image processor."""
    with hub_client(request, local) as where:
        processor = transformers.AutoImageProcessor.from_pretrained(place, **where)
        config = transformers.AutoConfig.from_pretrained(place, **where)
        # Checked before the weights, which may be large, are fetched.
        check = request.prompts.require if reads_texts(transformers, config) else request.prompts.refuse
        check(f"hf:{request.name}")
        if request.weights is None:
            model, report = auto_class(transformers, config).from_pretrained(
                place, config=config, output_loading_info=True, **where
            )
            require_head(request.name, report)
        else:
            model = auto_class(transformers, config).from_config(config, trust_remote_code=False)
    if request.weights is not None:
        fit(model, read_weights(request.weights, request.notice), request.weights.name, f"hf:{request.name}")
    return model, processor


@contextmanager
def hub_client(request: Request, local: bool) -> Iterator[dict[str, Any]]:
    """Let transformers load with these options; whatever it raises becomes one line."""
    with hub(request.offline or local, request.progress) as offline:
        try:
            yield {"revision": request.flag or None, "local_files_only": offline, "trust_remote_code": False}
        except XaiError:
            raise
        # The exceptions of transformers and the hub's client have no common type; each means that the model cannot be loaded.
        except Exception as error:
            spec = f"hf:{request.name}"
            if local:
                raise InputError(f"{spec} cannot be loaded: {' '.join(str(error).split())[:240]}") from error
            raise cannot_load(spec, request.name, error, asked_offline=request.offline, offline=offline) from error


def auto_class(transformers: ModuleType, config: Any) -> Any:
    """What builds a network of its configuration: an image classifier, a text-image model, a detector, or one that gives a class
    map."""
    if reads_texts(transformers, config):
        return transformers.AutoModelForZeroShotImageClassification
    if finds_objects(config):
        return transformers.AutoModelForObjectDetection
    segments = any(str(name).endswith("ForSemanticSegmentation") for name in config.architectures or ())
    return transformers.AutoModelForSemanticSegmentation if segments else transformers.AutoModelForImageClassification


def require_head(name: str, report: dict[str, Any]) -> None:
    """Raise InputError if parts of the network were not in the file, since transformers fills them with random numbers."""
    missing = sorted(report.get("missing_keys") or ()) + sorted(str(key) for key in report.get("mismatched_keys") or ())
    if missing:
        raise InputError(
            f"hf:{name} is not a trained classifier: its file lacks {', '.join(missing[:3])}{' …' if len(missing) > 3 else ''}",
            expected="a model fine-tuned for image classification",
            hint="For a network without a head use timm:NAME.",
        )


def require_photos(name: str, model: nn.Module) -> None:
    """Raise InputError if a network of transformers takes something other than whole photos."""
    if getattr(model, "main_input_name", "") == "input_ids":
        found = "takes a sequence of tokens, not a photo"
    elif "spatial_shapes" in inspect.signature(model.forward).parameters:
        found = "takes patches that its processor cuts, not a photo"
    else:
        return
    hint = "Wrap it in a module that does that to a photo: --model FILE.py:FUNCTION."
    raise InputError(f"{name} {found}", expected="a network of photos (B, 3, H, W)", hint=hint)


def names_of(config: Any, count: int) -> tuple[str, ...]:
    """Class names from the configuration; none if they are placeholders."""
    labels = {int(index): str(label) for index, label in (config.id2label or {}).items()}
    if sorted(labels) != list(range(count)) or all(PLACEHOLDER.fullmatch(label) for label in labels.values()):
        return ()
    return tuple(labels[index] for index in range(count))
