"""Text prompts as classes: CLIP, SigLIP and SigLIP 2 of transformers, and open_clip's, loaded from disk."""

import json
import logging

import pytest
import torch
from text_image_models import PATCH, SIDE, save_text_image_model, tokenizer
from torch import nn
from torch.nn import functional

import xaicli
from xaicli.errors import InputError, UsageError
from xaicli.images.view import View
from xaicli.models.assemble import assemble
from xaicli.models.load import load_classifier
from xaicli.models.model_request import LoadedModel
from xaicli.models.prompts import read_prompts
from xaicli.models.text_image import PromptLogits
from xaicli.outputs import Outputs
from xaicli.runs.target_choice import choose_targets
from xaicli.targets import Targets

pytest.importorskip("transformers")

PROMPTS = "a photo of a cat,a photo of a dog,a red bee"


@pytest.fixture
def saved(tmp_path, monkeypatch):
    """Writes a model of a kind into ./KIND of the current folder; returns the model."""
    monkeypatch.chdir(tmp_path)
    return lambda kind="clip", **changes: save_text_image_model(tmp_path / kind, kind, **changes)


def photos(count=2):
    return torch.randn(count, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(3))


@pytest.mark.parametrize(("kind", "outputs"), [("clip", Outputs.SOFTMAX), ("siglip", Outputs.SIGMOID)])
def test_logits_are_the_model_s_own_for_photos_and_prompts(saved, kind, outputs):
    model = saved(kind)
    classifier = load_classifier(f"hf:{kind}", prompts=PROMPTS)
    padding = "longest" if kind == "clip" else "max_length"
    texts = tokenizer()(PROMPTS.split(","), padding=padding, max_length=12, return_tensors="pt")
    with torch.no_grad():
        wanted = model(**texts, pixel_values=photos()).logits_per_image
        assert torch.allclose(classifier(photos()), wanted, atol=1e-5)
    assert classifier.classes == tuple(PROMPTS.split(","))
    assert classifier.outputs is outputs
    assert classifier.view.size == (SIDE, SIDE)


@pytest.mark.parametrize(("kind", "asked"), [("clip", "sigmoid"), ("clip", "values"), ("siglip", "softmax")])
def test_texts_are_compared_as_the_model_was_trained(saved, kind, asked):
    saved(kind)
    with pytest.raises(UsageError, match=f"--outputs {asked}, but hf:{kind} was trained to compare texts by s"):
        load_classifier(f"hf:{kind}", prompts=PROMPTS, outputs=asked)


def test_siglip_2_of_any_shape_gets_the_patches_that_its_processor_makes(saved):
    import transformers

    saved("siglip2")
    lines = []
    classifier = load_classifier("hf:siglip2", prompts=PROMPTS, notice=lines.append)
    assert lines == ["hf:siglip2 takes photos of any shape; here they are squashed to 32 x 32 pixels (see --resize)"]
    assert classifier.outputs is Outputs.SIGMOID
    picture = photos(1)[0].clamp(-1, 1)
    processor = transformers.Siglip2ImageProcessor(
        patch_size=PATCH, max_num_patches=16, do_resize=True, do_rescale=False, do_normalize=False
    )
    wanted = processor(images=picture, return_tensors="pt")
    given = classifier.torch_module.image.taken(picture[None])
    assert torch.allclose(given["pixel_values"], wanted["pixel_values"].float(), atol=1e-5)
    assert torch.equal(given["spatial_shapes"], wanted["spatial_shapes"])


def test_the_text_side_runs_once_and_is_not_kept(saved, monkeypatch):
    from transformers.models.clip.modeling_clip import CLIPTextModel

    saved()
    runs = []
    own = CLIPTextModel.forward

    def counted(self, *args, **kwargs):
        runs.append(1)
        return own(self, *args, **kwargs)

    monkeypatch.setattr(CLIPTextModel, "forward", counted)
    classifier = load_classifier("hf:clip", prompts=PROMPTS)
    classifier(photos())
    classifier(photos())
    assert len(runs) == 1
    assert not [name for name, _ in classifier.torch_module.named_parameters() if "text" in name]


def test_prompts_from_a_file_and_a_template_are_those_typed_out(saved, tmp_path):
    saved()
    (tmp_path / "prompts.txt").write_text("cat\ndog\nred bee\n")
    typed = load_classifier("hf:clip", prompts=["a photo of a cat", "a photo of a dog", "a photo of a red bee"])
    filled = load_classifier("hf:clip", classes="prompts.txt", template="a photo of a {}")
    assert filled.classes == ("cat", "dog", "red bee")
    with torch.no_grad():
        assert torch.equal(typed(photos()), filled(photos()))


def test_of_several_templates_the_features_are_averaged(saved):
    model = saved()
    classifier = load_classifier("hf:clip", prompts="cat,dog", template=["a photo of a {}", "a red {}"])
    sentences = ["a photo of a cat", "a red cat", "a photo of a dog", "a red dog"]
    with torch.no_grad():
        texts = model.get_text_features(**tokenizer()(sentences, padding=True, return_tensors="pt"))
        texts = functional.normalize(getattr(texts, "pooler_output", texts), dim=1)
    mean = functional.normalize(texts.reshape(2, 2, -1).mean(dim=1), dim=1)
    assert torch.allclose(classifier.torch_module.texts, mean, atol=1e-6)


def test_the_fingerprint_covers_the_prompts_and_the_text_side(saved):
    model = saved()
    first = load_classifier("hf:clip", prompts=PROMPTS).fingerprint
    assert load_classifier("hf:clip", prompts=PROMPTS).fingerprint == first
    assert load_classifier("hf:clip", prompts="a cat,a dog,a red bee").fingerprint != first
    with torch.no_grad():
        model.text_projection.weight.mul_(-1)
    model.save_pretrained("clip")
    assert load_classifier("hf:clip", prompts=PROMPTS).fingerprint != first


def test_one_prompt_is_yes_or_no_for_siglip_and_nothing_for_clip(saved):
    saved()
    saved("siglip")
    assert load_classifier("hf:siglip", prompts="a cat").classes == ("not a cat", "a cat")
    with pytest.raises(UsageError, match=r"one prompt for hf:clip.*softmax over the prompts.*expected two prompts or more"):
        load_classifier("hf:clip", prompts="a cat")


def test_a_model_that_is_loaded_already_takes_prompts_and_stays_as_it_was(saved):
    model = saved()
    parts = dict(model.named_modules())
    view = {"resize": SIDE, "crop": SIDE}
    classifier = xaicli.classifier(model, prompts=PROMPTS, tokenizer=tokenizer(), name="mine", **view)
    with torch.no_grad():
        assert torch.equal(classifier(photos()), load_classifier("hf:clip", prompts=PROMPTS)(photos()))
    assert dict(model.named_modules()) == parts
    assert classifier.name == "mine"
    with pytest.raises(UsageError, match="mine compares photos with texts, but no tokenizer is given"):
        xaicli.classifier(model, prompts=PROMPTS, name="mine", **view)
    with pytest.raises(UsageError, match="a Linear reads no texts, but prompts are given"):
        xaicli.classifier(nn.Linear(2, 2), prompts=PROMPTS, tokenizer=tokenizer())


class Linear(nn.Module):
    """An image side that is one matrix: (B, 3, 2, 2) to (B, D)."""

    def __init__(self, matrix):
        super().__init__()
        self.matrix = nn.Parameter(matrix)

    def forward(self, inputs):
        return inputs.flatten(1) @ self.matrix.T


def test_the_gradient_of_a_contrast_is_the_difference_of_the_texts_through_the_image_side():
    generator = torch.Generator().manual_seed(0)
    matrix, texts = torch.randn(4, 12, generator=generator), torch.randn(2, 4, generator=generator)
    texts = functional.normalize(texts, dim=1)
    scale = torch.tensor(7.0)
    module = PromptLogits(Linear(matrix), texts, scale, torch.tensor(0.5), b"")
    view = View((2, 2), None)
    loaded = LoadedModel("two", view, module=module, classes=("a cat", "a dog"), outputs=Outputs.SOFTMAX)
    classifier = assemble(loaded, device=torch.device("cpu"), notice=lambda text: None)
    rule = choose_targets("a cat-a dog", classifier).rule
    inputs = torch.randn(1, 3, 2, 2, generator=generator).requires_grad_()
    [[score]] = Targets((rule,), classifier.outputs).resolve(classifier(inputs)).scores
    (gradient,) = torch.autograd.grad(score, inputs)
    features = matrix @ inputs.detach().flatten()
    unit, length = features / features.norm(), features.norm()
    difference = texts[0] - texts[1]
    along = scale * (difference - unit * (unit @ difference)) / length @ matrix
    assert torch.allclose(gradient.flatten(), along, atol=1e-5)
    assert torch.allclose(score, scale * unit @ difference, atol=1e-5)


def test_without_prompts_one_line_says_what_to_type(saved):
    saved()
    with pytest.raises(UsageError, match=r'^hf:clip compares photos with texts, but none are given; expected --prompts "a photo'):
        load_classifier("hf:clip")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"prompts": "a cat,,a dog"}, r"prompt 2 of 3 is empty"),
        ({"prompts": ""}, r"prompt 1 of 1 is empty"),
        ({"prompts": "a cat, a dog,a cat"}, r'the prompt "a cat" occurs twice'),
        ({"prompts": "cat,dog", "template": "a photo"}, r'the template "a photo" has no \{\}.*Type --template'),
        ({"prompts": "cat,dog", "template": "a {} {x}"}, r'the template "a \{\} \{x\}" has a brace beside \{\}'),
        ({"prompts": [1, 2]}, r"prompts and templates are texts"),
        ({"prompts": "cat,dog", "classes": "names.txt"}, r"prompts are given twice, by --prompts and by --classes"),
    ],
)
def test_prompts_that_mean_nothing_are_refused_in_one_line(saved, tmp_path, options, message):
    saved()
    (tmp_path / "names.txt").write_text("cat\ndog\n")
    with pytest.raises(UsageError, match=message) as caught:
        load_classifier("hf:clip", **options)
    assert "\n" not in str(caught.value)


def test_a_file_of_prompts_that_is_missing_or_no_text_is_refused(saved, tmp_path):
    saved()
    with pytest.raises(InputError, match=r"absent\.txt"):
        load_classifier("hf:clip", classes="absent.txt")
    (tmp_path / "photo.txt").write_bytes(b"\x89PNG\r\n\x1a\n\x00\xff\xfe")
    with pytest.raises(InputError, match=r"photo\.txt"):
        load_classifier("hf:clip", classes="photo.txt")


def test_prompts_for_a_model_with_classes_of_its_own_are_refused(saved):
    for model in ("tiny", "resnet18"):
        with pytest.raises(UsageError, match=rf"{model} reads no texts, but --prompts is given.*Leave --prompts out"):
            load_classifier(model, prompts=PROMPTS, offline=True)
    with pytest.raises(UsageError, match="tiny reads no texts, but --template is given"):
        load_classifier("tiny", template="a photo of a {}")
    import transformers

    config = transformers.ViTConfig(hidden_size=16, num_hidden_layers=1, num_attention_heads=2, image_size=32, patch_size=8)
    transformers.ViTForImageClassification(config).save_pretrained("vit")
    transformers.ViTImageProcessor(size={"height": 32, "width": 32}).save_pretrained("vit")
    with pytest.raises(UsageError, match="hf:vit reads no texts, but --prompts is given"):
        load_classifier("hf:vit", prompts=PROMPTS)


def test_a_prompt_longer_than_the_text_side_reads_is_said(saved):
    saved()
    long = "a photo of a cat a photo of a dog a photo of a bee"
    lines = []
    load_classifier("hf:clip", prompts=[long, "a cat"], notice=lines.append)
    expected = f'the prompt "{long[:40]}…" has 17 tokens; the model reads the first 12, the rest is cut'
    assert lines == [expected]


def test_commas_in_a_prompt_take_a_backslash():
    assert read_prompts(r"a cat\, asleep,a dog", None, None).names == ("a cat, asleep", "a dog")


def test_a_classifier_made_of_a_clip_s_image_side_stays_a_classifier(saved, tmp_path):
    import transformers

    vision = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "image_size": 32, "patch_size": 8}
    config = transformers.CLIPConfig(vision_config=vision, num_labels=4)
    transformers.CLIPForImageClassification(config).save_pretrained(tmp_path / "head")
    transformers.CLIPImageProcessor(size={"shortest_edge": 32}, crop_size=32).save_pretrained(tmp_path / "head")
    assert load_classifier("hf:head").count == 4


@pytest.fixture
def open_clip_model(tmp_path, monkeypatch):
    """A tiny model that open_clip knows by the name tiny-clip, with its weights in weights.pt."""
    open_clip = pytest.importorskip("open_clip")
    from open_clip import factory

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(factory, "_MODEL_CONFIG_PATHS", list(factory._MODEL_CONFIG_PATHS))
    monkeypatch.setattr(factory, "_MODEL_CONFIGS", dict(factory._MODEL_CONFIGS))
    vision = {"image_size": SIDE, "layers": 2, "width": 16, "patch_size": PATCH, "head_width": 8}
    text = {"context_length": 12, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 2}

    def make(**changes):
        (tmp_path / "tiny-clip.json").write_text(json.dumps({"embed_dim": 16, "vision_cfg": vision, "text_cfg": text, **changes}))
        open_clip.add_model_config(tmp_path / "tiny-clip.json")
        with torch.random.fork_rng():
            torch.manual_seed(4)
            model = open_clip.create_model("tiny-clip").eval()
        torch.save(model.state_dict(), "weights.pt")
        return model

    return make


@pytest.mark.parametrize("changes", [{}, {"init_logit_bias": -4.0}])
def test_open_clip_loads_by_name_and_checkpoint(open_clip_model, changes, caplog):
    import open_clip

    model = open_clip_model(**changes)
    caplog.clear()
    before = (list(logging.getLogger().handlers), logging.getLogger().level)
    classifier = load_classifier("open-clip:tiny-clip@weights.pt", prompts=PROMPTS)
    assert (logging.getLogger().handlers, logging.getLogger().level) == before
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]
    with torch.no_grad():
        wanted, _ = model.get_logits(photos(), open_clip.get_tokenizer("tiny-clip")(PROMPTS.split(",")))
        assert torch.allclose(classifier(photos()), wanted, atol=1e-5)
    assert classifier.outputs is (Outputs.SIGMOID if changes else Outputs.SOFTMAX)
    assert classifier.name == "open-clip:tiny-clip@weights=weights.pt"
    assert not [name for name, _ in classifier.torch_module.named_parameters() if "token" in name]
    own = xaicli.classifier(model, prompts=PROMPTS, tokenizer=open_clip.get_tokenizer("tiny-clip"), resize=SIDE, crop=SIDE)
    with torch.no_grad():
        assert torch.allclose(own(photos()), wanted, atol=1e-5)


def test_open_clip_names_are_refused_with_what_there_is(open_clip_model):
    open_clip_model()
    with pytest.raises(UsageError, match=r'open_clip has no model "ViT-B-33"\. Did you mean ViT-B-32\?'):
        load_classifier("open-clip:ViT-B-33", prompts=PROMPTS)
    with pytest.raises(UsageError, match=r"open-clip:ViT-B-32 names no weights; expected openai, laion400m"):
        load_classifier("open-clip:ViT-B-32", prompts=PROMPTS)
    with pytest.raises(UsageError, match=r'open_clip has no weights "laion3b" for ViT-B-32'):
        load_classifier("open-clip:ViT-B-32@laion3b", prompts=PROMPTS)
    with pytest.raises(UsageError, match="open-clip:ViT-B-32@openai compares photos with texts, but none are given"):
        load_classifier("open-clip:ViT-B-32@openai")
    with pytest.raises(InputError, match=r"open-clip:ViT-B-32@openai is not on this machine, but --offline forbids"):
        load_classifier("open-clip:ViT-B-32@openai", prompts=PROMPTS, offline=True)
