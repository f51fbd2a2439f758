"""The report page: all that the store holds, in one file, and nothing in it that runs but the page's own script."""

from __future__ import annotations

import base64
import hashlib
import html.parser
import io
import json
import re

import numpy as np
import pytest
from PIL import Image

from xaicli.errors import InputError
from xaicli.params import as_json
from xaicli.registry import make_method
from xaicli.results.reading import StoredPhoto
from xaicli.results.report.curves import mean_curves
from xaicli.results.report.page import as_typed, write_report
from xaicli.results.report.thumbnails import thumbnails
from xaicli.results.store import Store
from xaicli.rows import Curve, KeptMap, Run

HOSTILE = "<img src=x onerror=alert(1)>.jpg"


class Parsed(html.parser.HTMLParser):
    """What a browser makes of a page: its elements and the text of its scripts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: dict[str, str] = {}
        self.inside = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self.inside = dict(attrs).get("id") or tag if tag in ("script", "style") else self.inside

    def handle_endtag(self, tag: str) -> None:
        self.inside = "" if tag in ("script", "style") else self.inside

    def handle_data(self, data: str) -> None:
        if self.inside:
            self.scripts[self.inside] = self.scripts.get(self.inside, "") + data

    def of(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


def jpeg(seed: int, size: tuple[int, int] = (60, 40)) -> bytes:
    coarse = np.random.default_rng(seed).integers(0, 256, (5, 5, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(coarse).resize(size).save(buffer, "JPEG")
    return buffer.getvalue()


@pytest.fixture
def scored(tmp_path, recipe_of, row_of):
    """A store beside its photos, written by a run in their folder."""

    def make(names, methods=("grad-cam", "rise", "random"), metrics=("deletion", "insertion"), **row):
        recipes = [
            recipe_of(method, metric, control=method == "random", direction="lower" if metric == "deletion" else "higher")
            for method in methods
            for metric in metrics
        ]
        store = Store.open(tmp_path / "scores.db")
        for seed, name in enumerate(names):
            content = jpeg(seed)
            (tmp_path / name).write_bytes(content)
            photo = hashlib.sha256(content).hexdigest()
            rows = [row_of(recipe, name, (seed + at) / 20, photo=photo, **row) for at, recipe in enumerate(recipes)]
            values = np.random.default_rng(seed).random((7, 7))
            maps = [KeptMap(rows[0].subject, recipes[0].method_definition, "grad-cam", 0, values, (0.1, 0.0, 0.9, 1.0))]
            store.add(rows, recipes, maps=maps, run=Run("tiny", "f" * 16, versions={"torch": "2.6"}, command="xai score ."))
        return store

    return make


def read(path):
    text = path.read_text(encoding="utf-8")
    parsed = Parsed(text)
    return text, parsed, json.loads(parsed.scripts["data"]), json.loads(parsed.scripts["thumbnails"])


def test_the_page_holds_table_curves_photos_maps_and_stamps(scored, tmp_path):
    with scored(["a.jpg", "b.jpg"]) as store:
        assert write_report(store, tmp_path / "report.html") == 2
        definition = store.recipes()[0].definition
    text, _, data, pictures = read(tmp_path / "report.html")
    (group,) = data["groups"]
    assert [method["name"] for method in group["methods"]] == ["grad-cam", "rise", "random"]
    assert [metric["name"] for metric in group["metrics"]] == ["deletion", "insertion"]
    assert len(group["curves"]) == 6
    entry = group["entries"][1]
    assert entry["values"] == pytest.approx([0.05, 0.1, 0.15, 0.2, 0.25, 0.3])
    assert list(entry["maps"]) == ["0"]
    assert entry["maps"]["0"]["box"] == [0.1, 0.0, 0.9, 1.0]
    assert len(base64.b64decode(entry["maps"]["0"]["steps"])) == 49
    steps = np.frombuffer(base64.b64decode(entry["curves"]["0,0"][1]), dtype=np.uint8)
    np.testing.assert_allclose(steps / 255, [0.75, 0.5, 0.25], atol=0.003)
    assert group["grids"][entry["curves"]["0,0"][0]] == [0.0, 0.5, 1.0]
    assert Image.open(io.BytesIO(base64.b64decode(pictures[0]))).size == tuple(data["photos"][0]["size"]) == (60, 40)
    for wanted in (definition, "f" * 16, "xai score .", "torch 2.6"):
        assert wanted in text


def test_the_page_draws_the_outline_of_a_region(tmp_path, recipe_of, row_of):
    (tmp_path / "a.jpg").write_bytes(jpeg(0))
    recipe = recipe_of("grad-cam", "deletion")
    region = np.zeros((4, 6), dtype=bool)
    region[1:3, 2:5] = True
    with Store.open(tmp_path / "scores.db") as store:
        row = row_of(recipe, "a.jpg", photo=hashlib.sha256(jpeg(0)).hexdigest())
        kept = KeptMap(row.subject, recipe.method_definition, "grad-cam", 0, np.eye(7), (0.1, 0.0, 0.9, 1.0), region=region)
        store.add([row], [recipe], maps=[kept])
        write_report(store, tmp_path / "report.html")
    _, _, data, _ = read(tmp_path / "report.html")
    (entry,) = data["groups"][0]["entries"]
    assert entry["region"] == {"size": [6, 4], "box": [0.1, 0.0, 0.9, 1.0], "path": "M2 1H5M2 3H5M2 1V3M5 1V3"}


def test_the_page_needs_nothing_from_anywhere(scored, tmp_path):
    with scored(["a.jpg"]) as store:
        write_report(store, tmp_path / "report.html")
    text, parsed, _, _ = read(tmp_path / "report.html")
    without_svg_names = text.replace("http://www.w3.org/2000/svg", "")
    assert not re.search(r"https?://|@import|url\(", without_svg_names)
    assert [link.get("href") for link in parsed.of("link")] == ["data:,"]
    assert not any("src" in attributes for attributes in parsed.of("script"))


def test_the_policy_allows_the_pages_own_script_and_style_alone(scored, tmp_path):
    with scored(["a.jpg"]) as store:
        write_report(store, tmp_path / "report.html")
    _, parsed, _, _ = read(tmp_path / "report.html")
    policy = next(m["content"] for m in parsed.of("meta") if m.get("http-equiv") == "Content-Security-Policy")
    assert policy is not None
    for kind in ("script", "style"):
        digest = base64.b64encode(hashlib.sha256(parsed.scripts[kind].encode()).digest()).decode()
        assert f"{kind}-src 'sha256-{digest}'" in policy
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert not any(name.startswith("on") or name == "style" for _, attributes in parsed.elements for name in attributes)


def test_hostile_names_are_text_wherever_they_stand(tmp_path, recipe_of, row_of):
    attack = "</script><script>alert(1)</script>"
    recipe = recipe_of(f"cam{HOSTILE}", f"metric{attack}")
    with Store.open(tmp_path / "scores.db") as store:
        for image in (HOSTILE, attack):
            run = Run(attack, "f" * 16, command=attack, versions={attack: attack}, layers={attack: attack})
            store.add([row_of(recipe, image, target_name=attack)], [recipe], run=run)
        write_report(store, tmp_path / "report.html")
    text, parsed, data, _ = read(tmp_path / "report.html")
    assert len(parsed.of("script")) == 3
    assert parsed.of("img") == []
    assert attack not in text
    assert {photo["path"] for photo in data["photos"]} == {HOSTILE, attack}


def test_photos_are_found_beside_the_store_or_where_told(scored, tmp_path, monkeypatch):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    store = scored(["a.jpg", "b.jpg", "c.jpg"])
    (tmp_path / "b.jpg").rename(elsewhere / "b.jpg")
    (tmp_path / "c.jpg").rename(tmp_path / "renamed.jpg")
    write_report(store, tmp_path / "report.html", folders=[elsewhere])
    _, _, data, pictures = read(tmp_path / "report.html")
    assert [photo["why"] for photo in data["photos"]] == ["", "", "not found where it was scored"]
    assert [bool(picture) for picture in pictures] == [True, True, False]


def test_a_photo_of_other_content_is_not_shown_as_the_one_that_was_scored(scored, tmp_path):
    store = scored(["a.jpg"])
    (tmp_path / "a.jpg").write_bytes(jpeg(99))
    write_report(store, tmp_path / "report.html")
    assert read(tmp_path / "report.html")[2]["photos"][0]["why"] == "changed since it was scored"


def test_a_store_that_points_at_a_file_that_is_no_photo_gets_a_placeholder(tmp_path, recipe_of, row_of):
    for name, content in {"secret.txt": b"password", "broken.jpg": b"\xff\xd8\xff\xe0 no more"}.items():
        (tmp_path / name).write_bytes(content)
        photo = StoredPhoto(hashlib.sha256(content).hexdigest(), 0, (name,))
        (picture,) = thumbnails([photo], [tmp_path])
        assert picture.jpeg == ""
        assert picture.why


def test_thumbnails_are_upright_and_carry_no_camera_data(tmp_path):
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "A camera"
    path = tmp_path / "turned.jpg"
    Image.new("RGB", (800, 400), (200, 30, 30)).save(path, exif=exif)
    (picture,) = thumbnails([StoredPhoto(hashlib.sha256(path.read_bytes()).hexdigest(), 0, (str(path),))], [])
    assert picture.size == (160, 320)
    shown = Image.open(io.BytesIO(base64.b64decode(picture.jpeg)))
    assert shown.size == (160, 320)
    assert not shown.getexif()


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "CMYK", "I;16"])
def test_photos_of_any_colours_have_thumbnails(tmp_path, mode):
    path = tmp_path / ("photo.tif" if mode in ("CMYK", "I;16") else "photo.png")
    Image.new(mode, (50, 20)).save(path)
    (picture,) = thumbnails([StoredPhoto(hashlib.sha256(path.read_bytes()).hexdigest(), 0, (str(path),))], [])
    assert picture.size == (50, 20)


def test_absolute_paths_are_shown_without_the_folder_they_share(tmp_path, recipe_of, row_of):
    recipe = recipe_of()
    store = Store.in_memory()
    for image in ("/home/someone/photos/cats/1.jpg", "/home/someone/photos/dogs/1.jpg", "relative/1.jpg"):
        store.add([row_of(recipe, image)], [recipe])
    write_report(store, tmp_path / "report.html")
    text, _, data, _ = read(tmp_path / "report.html")
    assert [photo["path"] for photo in data["photos"]] == ["cats/1.jpg", "dogs/1.jpg", "relative/1.jpg"]
    assert "someone" not in text


def test_of_too_many_photos_the_worst_are_shown(tmp_path, recipe_of, row_of):
    recipe, control = recipe_of(direction="higher"), recipe_of("random", direction="higher", control=True)
    store = Store.in_memory()
    for number, value in enumerate([0.5, 0.1, 0.9, 0.2, None]):
        rows = [row_of(recipe, f"{number}.jpg", value), row_of(control, f"{number}.jpg", 1.0 - (value or 0.0))]
        store.add(rows, [recipe, control])
    assert write_report(store, tmp_path / "report.html", most_photos=3) == 3
    text, _, data, _ = read(tmp_path / "report.html")
    assert [photo["path"] for photo in data["photos"]] == ["1.jpg", "3.jpg", "4.jpg"]
    assert "3 of 5 photos: the worst by the first metric" in text


def test_a_photo_without_a_value_shows_its_status(tmp_path, recipe_of, row_of):
    recipe = recipe_of()
    store = Store.in_memory()
    store.add([row_of(recipe, "a.jpg", None)], [recipe])
    store.add([row_of(recipe, "b.jpg", 0.5)], [recipe])
    write_report(store, tmp_path / "report.html")
    entry = read(tmp_path / "report.html")[2]["groups"][0]["entries"][0]
    assert entry["values"] == [None]
    assert entry["statuses"] == {"0,0": "constant"}


def test_models_and_rules_have_a_group_each(tmp_path, recipe_of, row_of):
    first, second = recipe_of(), recipe_of(target_rule="5")
    store = Store.in_memory()
    for image in ("a.jpg", "b.jpg"):
        store.add([row_of(first, image, 0.1), row_of(second, image, 0.2, target="5")], [first, second])
    write_report(store, tmp_path / "report.html")
    _, parsed, data, _ = read(tmp_path / "report.html")
    assert [group["entries"][0]["values"] for group in data["groups"]] == [[0.1], [0.2]]
    assert len(parsed.of("option")) == 2 + 4


def test_mean_curves_are_the_mean_of_the_curves_with_their_interval(recipe_of, row_of):
    recipe = recipe_of()
    store = Store.in_memory()
    heights = np.random.default_rng(0).random((12, 3))
    for number, y in enumerate(heights):
        store.add([row_of(recipe, f"{number}.jpg", curve=Curve((0.0, 0.5, 1.0), tuple(y)))], [recipe])
    store.add([row_of(recipe, "small.jpg", curve=Curve((0.0, 1.0), (9.0, 9.0)))], [recipe])
    (curve,) = mean_curves(store)
    assert curve.n == 12
    np.testing.assert_allclose(curve.mean, heights.mean(axis=0), rtol=1e-6)
    np.testing.assert_allclose(curve.half, 2.201 * heights.std(axis=0, ddof=1) / np.sqrt(12), rtol=1e-3)


def test_the_same_store_gives_the_same_page(scored, tmp_path):
    with scored(["a.jpg", "b.jpg"]) as store:
        write_report(store, tmp_path / "first.html")
        write_report(store, tmp_path / "second.html")
    assert (tmp_path / "first.html").read_bytes() == (tmp_path / "second.html").read_bytes()


def test_a_store_without_scores_has_no_report(tmp_path):
    with pytest.raises(InputError, match="holds no scores"):
        write_report(Store.in_memory(), tmp_path / "report.html")
    assert list(tmp_path.iterdir()) == []


def test_progress_is_told_once_a_photo(scored, tmp_path):
    ticks = []
    write_report(scored(["a.jpg", "b.jpg", "c.jpg"]), tmp_path / "report.html", tick=lambda: ticks.append(1))
    assert len(ticks) == 3


@pytest.mark.parametrize("typed", ["grad-cam@relu=false", "bee@metric=deletion", "ucag@base=grad-cam@relu=false"])
def test_stored_definitions_are_shown_as_a_user_types_them(typed):
    method = make_method(typed)
    assert make_method(as_typed(as_json(method))) == method


def test_damaged_definitions_are_shown_all_the_same():
    assert as_typed({"parameters": 3}) == ""
    assert as_typed([True, None, {"name": "a"}]) == "true+none+a"
