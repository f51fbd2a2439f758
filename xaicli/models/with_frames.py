"""A classifier that was loaded for photos, or for other frames, as one that reads so many frames of a sequence."""

from __future__ import annotations

import dataclasses

from xaicli.containment import contained
from xaicli.errors import UsageError
from xaicli.models.assemble import assemble
from xaicli.models.input_view import Overrides
from xaicli.models.model_request import LoadedModel, Notice
from xaicli.network.classifier import Classifier
from xaicli.network.modes import eval_mode
from xaicli.network.sequences import itself


def with_frames(
    classifier: Classifier, frames: int | None = None, frame_step: int | None = None, *, notice: Notice = lambda text: None
) -> Classifier:
    """The same network for sequences of `frames` frames, one of `frame_step`; tried again, since it may refuse as many.

    Raises UsageError for a black box, InputError for a network of class maps or boxes.
    """
    if classifier.module is None:
        raise UsageError(f"{classifier.name} is a black box, which reads photos alone", hint="Sequences need a torch network.")
    module = itself(classifier.module)
    loaded = LoadedModel(
        classifier.name,
        classifier.view,
        module=module,
        classes=classifier.classes,
        layer=classifier.layer,
        outputs=None if classifier.of_places else classifier.outputs,
        output_name=classifier.output_name,
        decoding=classifier.decoding,
    )
    with contained(f"{classifier.name}, when it was made ready for frames,"), eval_mode(module):
        made = assemble(
            loaded, device=classifier.device, overrides=Overrides(frames=frames, frame_step=frame_step), notice=notice
        )
    return dataclasses.replace(made, masked_dtype=classifier.masked_dtype, batch_size=classifier.batch_size)
