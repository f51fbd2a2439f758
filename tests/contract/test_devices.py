"""No method computes float64 where the network's weights lie: Apple's devices have none, and answer with an exception."""

from __future__ import annotations

import copy
import dataclasses

import pytest
import torch
from without_float64 import NO_FLOAT64, OnDevice
from without_float64 import device as device

from xaicli.errors import XaiError
from xaicli.targets import DECISION, Targets


def test_the_device_refuses_float64(device) -> None:
    with pytest.raises(RuntimeError, match=NO_FLOAT64):
        OnDevice(torch.ones(2)).double()
    assert OnDevice(torch.ones(2)).cpu().double().sum() == 2


def test_a_method_computes_no_float64_where_the_weights_lie(trials, device) -> None:
    reached, said = [], []
    for trial in trials:
        there = copy.deepcopy(trial.classifier.module).to(device)
        classifier = dataclasses.replace(trial.classifier, forward=there, module=there, device=device)
        try:
            trial.method.attribute(classifier, OnDevice(trial.photos[:1]), Targets((DECISION,)), trial.seeds[:1])
            reached.append(trial.network)
        except (XaiError, RuntimeError) as error:
            # What the imitation cannot do (mixed devices in an operation, tensors made of lists) says nothing of the method.
            said.append(str(error))
    assert not [text for text in said if NO_FLOAT64 in text]
    if not reached:
        pytest.skip("the imitated device cannot do all that this method needs")
