import hashlib
import os
import re
import socket
import urllib.error

import pytest

from xaicli.errors import InputError
from xaicli.models import download as module
from xaicli.models.download import DownloadError, bar, download, expected_hash, is_whole, reason_of

CONTENT = bytes(range(256)) * 400
DIGEST = hashlib.sha256(CONTENT).hexdigest()
NAME = f"net-{DIGEST[:8]}.pth"


@pytest.fixture
def target(tmp_path):
    return tmp_path / "cache" / "weights" / NAME


def serve(site, content=CONTENT):
    site.pages[f"/{NAME}"] = content
    return f"{site.address}/{NAME}"


def test_a_file_arrives_whole_and_nothing_else_is_left_beside_it(site, target):
    download(serve(site), target)
    assert target.read_bytes() == CONTENT
    assert os.listdir(target.parent) == [NAME]


def test_a_file_arrives_where_the_server_states_no_length(site, target):
    site.states_length = False
    download(serve(site), target)
    assert target.read_bytes() == CONTENT


def test_a_connection_that_breaks_leaves_nothing_and_says_how_far_it_came(site, target):
    site.breaks = True
    with pytest.raises(DownloadError, match=r"broke after 51,200 of 102,400 bytes.*Check the network, put the file at"):
        download(serve(site), target)
    assert os.listdir(target.parent) == []


def test_content_of_another_hash_is_refused_and_not_kept(site, target):
    with pytest.raises(DownloadError, match=f"has SHA-256 [0-9a-f]{{8}}…, not {DIGEST[:8]}"):
        download(serve(site, b"not the weights" * 100), target)
    assert os.listdir(target.parent) == []


def test_a_broken_connection_without_a_stated_length_is_caught_by_the_hash(site, target):
    site.breaks, site.states_length = True, False
    with pytest.raises(DownloadError, match="has SHA-256"):
        download(serve(site), target)


def test_a_page_that_is_not_there_is_one_line_with_its_number(site, target):
    with pytest.raises(DownloadError, match=r"answered 404 Not Found for http://127\.0\.0\.1:\d+/absent\.pth") as caught:
        download(f"{site.address}/absent.pth", target)
    assert caught.value.exit_code == 3
    assert "\n" not in str(caught.value)


def test_a_refused_connection_is_one_line(target, monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
    with pytest.raises(DownloadError, match=rf"127\.0\.0\.1:{port}: connection refused"):
        download(f"http://127.0.0.1:{port}/{NAME}", target)


def test_no_network_is_said_in_words(target, monkeypatch):
    def no_name(*args, **kwargs):
        raise urllib.error.URLError(socket.gaierror(-2, "Name or service not known"))

    monkeypatch.setattr(module.urllib.request, "urlopen", no_name)
    with pytest.raises(DownloadError, match=r"example\.org: its name is not known \(no network\?\)"):
        download(f"https://example.org/{NAME}", target)


def test_a_server_that_does_not_answer_is_said_with_the_time_waited(target, monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(module, "TIMEOUT", 0.2)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        with pytest.raises(DownloadError, match=r"no answer within 0\.2 s"):
            download(f"http://127.0.0.1:{silent.getsockname()[1]}/{NAME}", target)


def test_a_cache_folder_that_cannot_be_made_is_said_with_the_variable_that_moves_it(site, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(InputError, match=r"cannot be written.*Set XAI_CACHE") as caught:
        download(serve(site), tmp_path / "file" / "weights" / NAME)
    assert not isinstance(caught.value, DownloadError)


def test_an_interrupt_leaves_nothing_behind(site, target, monkeypatch):
    def interrupted(response):
        yield response.read(1000)
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "blocks", interrupted)
    with pytest.raises(KeyboardInterrupt):
        download(serve(site), target)
    assert os.listdir(target.parent) == []


def test_progress_is_told_in_bytes_of_the_whole(site, target, monkeypatch):
    told = []
    monkeypatch.setattr(module, "CHUNK", 40_000)
    monkeypatch.setattr(module, "bar", lambda name, wanted: Recording(told))
    download(serve(site), target, progress=True)
    assert told == [(40_000, 102_400), (80_000, 102_400), (102_400, 102_400)]


class Recording:
    def __init__(self, told):
        self.told = told

    def __enter__(self):
        return lambda done, total: self.told.append((done, total))

    def __exit__(self, *exception):
        return None


def test_no_bar_is_drawn_where_stderr_is_no_terminal(capsys):
    with bar("net.pth", wanted=True) as advance:
        advance(1, 2)
    assert capsys.readouterr() == ("", "")


def test_a_bar_is_drawn_on_a_terminal_s_stderr_only(capsys, monkeypatch):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    with bar("net.pth", wanted=True) as advance:
        advance(1, 2)
    out, err = capsys.readouterr()
    assert out == ""
    assert "downloading net.pth" in re.sub(r"\x1b\[[\d;?]*[A-Za-z]", "", err)


@pytest.mark.parametrize(
    ("name", "digits"),
    [
        ("resnet50-11ad3fa6.pth", "11ad3fa6"),
        ("efficientnet_b3_rwightman-b3899882.pth", "b3899882"),
        ("vit_b_16_swag-9ac1b537.pth", "9ac1b537"),
        ("alexnet-owt-7be5be79.pth", "7be5be79"),
        ("model.safetensors", ""),
        ("net-v2.pth", ""),
    ],
)
def test_the_hash_is_read_off_a_file_s_name(name, digits):
    assert expected_hash(name) == digits


def test_a_file_is_whole_when_its_content_has_the_hash_of_its_name(target):
    assert not is_whole(target)
    target.parent.mkdir(parents=True)
    target.write_bytes(CONTENT)
    assert is_whole(target)
    target.write_bytes(CONTENT[:-1])
    assert not is_whole(target)


def test_a_reason_without_text_is_the_error_s_kind():
    assert reason_of(ConnectionResetError()) == "connectionreseterror"
