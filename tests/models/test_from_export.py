import pytest
import torch
from torch import nn

from xaicli.errors import InputError, UsageError
from xaicli.images.view import View
from xaicli.method import Needs
from xaicli.models.load import load_classifier


@pytest.fixture
def export(tmp_path):
    def saved(module, example, dynamic=None, name="net.pt2"):
        torch.export.save(torch.export.export(module, (example,), dynamic_shapes=(dynamic,)), tmp_path / name)
        return tmp_path / name

    return saved


BATCH = {0: torch.export.Dim("batch")}


def test_an_exported_program_gives_its_logits_and_is_a_black_box(export, tiny_cnn, photo_batch, notices):
    classifier = load_classifier(str(export(tiny_cnn, photo_batch[:2], BATCH)), notice=notices.append)
    torch.testing.assert_close(classifier(photo_batch), tiny_cnn(photo_batch))
    torch.testing.assert_close(classifier(photo_batch[:1]), tiny_cnn(photo_batch[:1]))
    assert (classifier.count, classifier.name, classifier.module) == (5, "net.pt2", None)
    assert classifier.view == View(37, 32)
    assert classifier.provides == Needs.FORWARD
    assert notices == ["net.pt2 is a program saved by torch.export: loading it can run code"]


@pytest.mark.parametrize("size", [1, 2, 4])
def test_a_fixed_batch_is_filled_up_and_cut(export, tiny_cnn, photo_batch, size):
    classifier = load_classifier(str(export(tiny_cnn, photo_batch[:size])))
    torch.testing.assert_close(classifier(photo_batch), tiny_cnn(photo_batch), atol=1e-5, rtol=1e-5)


def test_a_batch_in_bounds_is_kept_within_them(export, tiny_cnn, photo_batch):
    dynamic = {0: torch.export.Dim("batch", min=2, max=3)}
    classifier = load_classifier(str(export(tiny_cnn, photo_batch[:2], dynamic)))
    torch.testing.assert_close(classifier(photo_batch), tiny_cnn(photo_batch), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(classifier(photo_batch[:1]), tiny_cnn(photo_batch[:1]), atol=1e-5, rtol=1e-5)


def test_a_size_that_is_not_fixed_gets_the_usual_view(export, photo_batch):
    dynamic = {0: torch.export.Dim("batch"), 2: torch.export.Dim("height"), 3: torch.export.Dim("width")}
    network = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 5))
    classifier = load_classifier(str(export(network, photo_batch[:2], dynamic)))
    assert classifier.view == View(256, 224)
    assert classifier.count == 5


def test_a_transformer_s_program_runs_too(export, tiny_vit, photo_batch):
    classifier = load_classifier(str(export(tiny_vit, photo_batch[:2], BATCH)))
    torch.testing.assert_close(classifier(photo_batch), tiny_vit(photo_batch), atol=1e-5, rtol=1e-5)


def test_a_softmax_inside_is_found(export, tiny_cnn, photo_batch):
    classifier = load_classifier(str(export(nn.Sequential(tiny_cnn, nn.Softmax(dim=1)), photo_batch[:2], BATCH)))
    assert classifier.probabilities
    torch.testing.assert_close(classifier(photo_batch), tiny_cnn(photo_batch).log_softmax(dim=1), atol=1e-5, rtol=1e-5)


def test_the_fingerprint_follows_the_content(export, tiny_cnn, tiny_vit, photo_batch):
    first = load_classifier(str(export(tiny_cnn, photo_batch[:2], BATCH)))
    path = export(tiny_vit, photo_batch[:2], BATCH, "vit.pt2")
    assert load_classifier(str(path)).fingerprint != first.fingerprint
    (path.parent / "copy.pt2").write_bytes(path.read_bytes())
    assert load_classifier(str(path.parent / "copy.pt2")).fingerprint == load_classifier(str(path)).fingerprint


def test_without_trust_it_is_not_loaded(export, tiny_cnn, photo_batch):
    with pytest.raises(UsageError, match=r"loading net\.pt2 can run code\. Where you trust it, add --trust"):
        load_classifier(str(export(tiny_cnn, photo_batch[:2])), trust=False)


class Two(nn.Module):
    def forward(self, inputs):
        return inputs.mean(dim=(2, 3)), inputs.amax(dim=(2, 3))


def test_a_program_of_several_outputs_is_refused_in_words(export, photo_batch):
    with pytest.raises(UsageError, match=r"net\.pt2 returned 2 outputs that could be logits.*--output-name"):
        load_classifier(str(export(Two(), photo_batch[:2])))


class Flat(nn.Module):
    def forward(self, inputs):
        return inputs * 2


def test_a_program_that_takes_no_photos_is_refused(export):
    with pytest.raises(InputError, match="expected one input of photos"):
        load_classifier(str(export(Flat(), torch.zeros(2, 3))))
    with pytest.raises(InputError, match="expected one input of photos"):
        load_classifier(str(export(Flat(), torch.zeros(2, 3, 8, 8, dtype=torch.int64))))


def test_a_program_of_four_channels_says_so(export):
    class Mean(nn.Module):
        def forward(self, inputs):
            return inputs.mean(dim=(2, 3))

    assert load_classifier(str(export(Mean(), torch.zeros(2, 4, 8, 8)))).view.channels == 4


def test_a_size_the_program_cannot_take_is_reported_in_one_line(export, tiny_cnn, photo_batch):
    with pytest.raises(UsageError, match=r"net\.pt2 was exported for photos of 32 x 32 pixels, and the settings make 40 x 40"):
        load_classifier(str(export(tiny_cnn, photo_batch[:2], BATCH)), crop=40)


def test_a_program_under_another_ending_is_told_which(export, tiny_cnn, photo_batch):
    path = export(tiny_cnn, photo_batch[:2], BATCH, name="net.pt")
    with pytest.raises(InputError, match=r"net\.pt is a program saved by torch\.export; expected the ending \.pt2"):
        load_classifier(str(path))
    with pytest.raises(InputError, match=r"net\.pt is a program saved by torch\.export, not weights"):
        load_classifier("squeezenet1_1", weights=path)


@pytest.mark.parametrize("content", [b"PK\x03\x04 cut off", b"no archive", b"\x80\x02 a pickle", b""])
def test_files_that_are_no_program_are_refused_in_one_line(tmp_path, content, capfd):
    (tmp_path / "net.pt2").write_bytes(content)
    with pytest.raises(InputError, match=r"net\.pt2 is (not|empty)") as caught:
        load_classifier(str(tmp_path / "net.pt2"))
    assert "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")


def test_what_is_no_file_of_a_program_is_refused_in_its_own_words(tmp_path):
    (tmp_path / "folder.pt2").mkdir()
    (tmp_path / "page.pt2").write_text("<html>")
    (tmp_path / "text.pt2").write_text("text")
    (tmp_path / "empty.pt2").touch()
    said = {
        "absent": "there is no file .*",
        "folder": ".* is a folder",
        "page": ".* is a web page",
        "text": ".* is not an exported program",
        "empty": ".* is empty .*",
    }
    for name, words in said.items():
        with pytest.raises(InputError, match=f"{words}; expected a program saved by torch.export"):
            load_classifier(str(tmp_path / f"{name}.pt2"))


def test_weights_have_no_meaning(export, tiny_cnn, photo_batch):
    with pytest.raises(UsageError, match=r"--weights net\.pth with an exported program"):
        load_classifier(str(export(tiny_cnn, photo_batch[:2])), weights="net.pth")
