import pytest
from torch import nn

from xaicli.network.modes import eval_mode


@pytest.fixture
def mixed() -> nn.Module:
    """A network in training mode whose second part is frozen in evaluation mode."""
    network = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2), nn.Sequential(nn.Dropout(), nn.Linear(2, 2)))
    network[1].eval()
    return network


def flags(network: nn.Module) -> list[bool]:
    return [part.training for part in network.modules()]


def test_all_parts_are_in_evaluation_mode_inside_and_as_before_afterwards(mixed):
    before = flags(mixed)
    with eval_mode(mixed):
        assert not any(flags(mixed))
    assert flags(mixed) == before
    assert True in before
    assert False in before


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_modes_come_back_when_something_raises(mixed, error):
    before = flags(mixed)
    with pytest.raises(error), eval_mode(mixed):
        raise error
    assert flags(mixed) == before


def test_a_network_that_overrides_train_is_not_asked_to_train(mixed):
    class Merging(nn.Module):
        def train(self, mode: bool = True) -> nn.Module:
            raise AssertionError("weights would be merged")

    network = Merging()
    with eval_mode(network):
        assert not network.training
    assert network.training


def test_blocks_nest(mixed):
    before = flags(mixed)
    with eval_mode(mixed):
        with eval_mode(mixed):
            pass
        assert not any(flags(mixed))
    assert flags(mixed) == before


def test_a_black_box_has_no_modes():
    with eval_mode(None):
        pass
