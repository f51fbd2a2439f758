import logging
import socket

import pytest

from xaicli.errors import InputError
from xaicli.models.hub import cannot_load, hub, reachable

constants = pytest.importorskip("huggingface_hub.constants")
utils = pytest.importorskip("huggingface_hub.utils")


@pytest.fixture
def out_of_reach(monkeypatch):
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("no_proxy", "127.0.0.1")


@pytest.fixture
def in_reach(monkeypatch):
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{listening.getsockname()[1]}")
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        yield


def state():
    levels = [logging.getLogger(name).level for name in ("huggingface_hub", "transformers", "timm")]
    return constants.HF_HUB_OFFLINE, utils.are_progress_bars_disabled(), levels


def test_a_hub_in_reach_is_used_and_one_out_of_reach_is_not_waited_for(in_reach):
    with hub(offline=False, progress=False) as offline:
        assert not offline
        assert not constants.HF_HUB_OFFLINE


def test_out_of_reach_is_offline(out_of_reach):
    with hub(offline=False, progress=False) as offline:
        assert offline
        assert constants.HF_HUB_OFFLINE


def test_offline_is_obeyed_inside_and_all_is_restored_after_an_exception(in_reach):
    before = state()
    inside = []

    def fail():
        with hub(offline=True, progress=False) as offline:
            inside.append((offline, constants.is_offline_mode(), utils.are_progress_bars_disabled()))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert inside == [(True, True, True)]
    assert state() == before


def test_the_user_s_own_offline_mode_stays(in_reach, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with hub(offline=False, progress=False) as offline:
        assert offline
    assert constants.HF_HUB_OFFLINE


def test_behind_a_proxy_the_proxy_is_asked(monkeypatch):
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    assert reachable("https://hub.example.org")


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("RepositoryNotFoundError", "the hub has no hf:a/b, or it is private"),
        ("HFValidationError", "the hub has no hf:a/b, or it is private"),
        ("GatedRepoError", "asks for an agreement on the hub"),
        ("SomethingElse", "hf:a/b cannot be loaded: out of order twice"),
    ],
)
def test_what_the_hub_s_clients_raise_is_one_line(kind, words):
    try:
        try:
            raise type(kind, (Exception,), {})("inner")
        except Exception as inner:
            raise OSError("out of\norder twice") from inner
    except OSError as error:
        line = str(cannot_load("hf:a/b", "a/b", error, asked_offline=False, offline=False))
    assert words in line
    assert "\n" not in line


def test_an_error_of_ours_passes_as_it_is():
    error = InputError("said already")
    assert cannot_load("hf:a/b", "a/b", error, asked_offline=False, offline=True) is error
