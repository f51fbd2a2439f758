"""Trained checkpoints: where another one makes other maps, results are stamped as others, although the method is typed alike."""

import safetensors.torch
import torch

from xaicli.method import content_on
from xaicli.models.checkpoint import checkpoints_folder, read_metadata, write_checkpoint
from xaicli.needs import Needs


def changed(tensor: torch.Tensor) -> torch.Tensor:
    if not tensor.is_floating_point():
        return tensor
    with torch.random.fork_rng():
        torch.manual_seed(9)
        return tensor * (1 + torch.rand_like(tensor))


def test_results_count_the_checkpoint_that_is_installed(trials, method):
    files = sorted(checkpoints_folder().glob("*.safetensors"))
    before = [(content_on(trial.method, trial.classifier), trial.explain().values) for trial in trials]
    for file in files:
        tensors = {name: changed(tensor) for name, tensor in safetensors.torch.load_file(file).items()}
        write_checkpoint(file, tensors, read_metadata(file))
    moved = 0
    for trial, (content, values) in zip(trials, before, strict=True):
        now = content_on(trial.method, trial.classifier)
        if torch.equal(trial.explain().values, values):
            continue
        moved += 1
        assert now != content, trial.network
        assert now["parameters"].keys() == content["parameters"].keys()
    if method.needs & Needs.CHECKPOINT and not method.trains_network:
        assert moved == len(trials)
