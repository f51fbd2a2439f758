"""Ground truth: each format by hand, matching by name, classes, the model's view, and files that cannot be trusted."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from xaicli.errors import InputError, UsageError
from xaicli.images.annotations import uncompressed
from xaicli.images.shapes import MaskFile, Polygons, Rectangle, RelativeRectangle, RunLengths
from xaicli.images.truth import read_truth
from xaicli.images.view import View

WHOLE = View(resize=(8, 10), crop=None)
"""What a photo of 10 x 8 pixels looks like to a model that takes it as it is."""

SIZE = (10, 8)
CLASSES = ("tabby, tabby cat", "zebra", "crane", "crane")


def rectangle(x0: int, y0: int, x1: int, y1: int) -> np.ndarray:
    mask = np.zeros((8, 10), dtype=bool)
    mask[y0:y1, x0:x1] = True
    return mask


def mask_of(truth, path: str = "cat.jpg", index: int = 0, view: View = WHOLE) -> np.ndarray | None:
    known = truth.of(path, SIZE, view)
    return None if known is None else known.mask(index)


def read(place: Path, mapping: Path | None = None):
    return read_truth(place, CLASSES, len(CLASSES), mapping)


def coco(folder: Path, notes: list[dict], **image) -> Path:
    path = folder / "instances.json"
    image = {"id": 7, "file_name": "cat.jpg", "width": 10, "height": 8, **image}
    categories = [{"id": 17, "name": "tabby cat"}, {"id": 24, "name": "zebra"}]
    content = {"images": [image], "categories": categories, "annotations": [{"image_id": 7, **note} for note in notes]}
    path.write_text(json.dumps(content))
    return path


class TestCoco:
    def test_polygons_are_drawn_and_classes_are_found_by_name(self, tmp_path):
        coco(tmp_path, [{"category_id": 17, "segmentation": [[2, 1, 6, 1, 6, 5, 2, 5]]}])
        truth = read(tmp_path)
        assert truth.kind == "COCO JSON"
        assert np.array_equal(mask_of(truth), rectangle(2, 1, 6, 5))
        assert mask_of(truth, index=1) is None

    def test_a_category_number_is_never_a_class_index(self, tmp_path):
        coco(tmp_path, [{"category_id": 24, "bbox": [1, 1, 2, 2]}])
        assert mask_of(read(tmp_path), index=1).sum() == 4

    def test_boxes_stand_in_where_there_is_no_outline(self, tmp_path):
        coco(tmp_path, [{"category_id": 17, "bbox": [2, 1, 4, 3], "segmentation": []}])
        assert np.array_equal(mask_of(read(tmp_path)), rectangle(2, 1, 6, 4))

    @pytest.mark.parametrize("packed", [False, True], ids=["numbers", "text"])
    def test_run_lengths_go_down_the_columns(self, tmp_path, packed):
        """18 pixels outside are two columns and two rows; then three inside, in two columns."""
        counts = [18, 3, 5, 3, 51]
        assert uncompressed(compressed(counts)) == counts
        outline = {"size": [8, 10], "counts": compressed(counts) if packed else counts}
        coco(tmp_path, [{"category_id": 17, "segmentation": outline}])
        assert np.array_equal(mask_of(read(tmp_path)), rectangle(2, 2, 4, 5))

    def test_objects_of_one_class_are_one_mask(self, tmp_path):
        coco(tmp_path, [{"category_id": 17, "bbox": [0, 0, 1, 1]}, {"category_id": 17, "bbox": [9, 7, 1, 1]}])
        assert np.argwhere(mask_of(read(tmp_path))).tolist() == [[0, 0], [7, 9]]

    def test_another_size_of_photo_is_refused(self, tmp_path):
        coco(tmp_path, [{"category_id": 17, "bbox": [0, 0, 1, 1]}], width=20)
        with pytest.raises(InputError, match=r"annotation of cat.jpg is 20 x 8 pixels, its photo 10 x 8"):
            mask_of(read(tmp_path))

    @pytest.mark.parametrize(
        "note",
        [
            {"category_id": 99, "bbox": [0, 0, 1, 1]},
            {"category_id": 17, "bbox": [0, 0, 1]},
            {"category_id": 17, "bbox": [0, 0, 1, "x"]},
            {"category_id": 17, "bbox": [0, 0, 1, float("nan")]},
            {"category_id": 17, "segmentation": [[1, 1, 2, 2]]},
            {"category_id": 17, "segmentation": {"size": [8, 10], "counts": "\x00"}},
            {"category_id": 17, "segmentation": {"size": [8, 10], "counts": "o" * 100}},
            {"category_id": 17},
        ],
    )
    def test_what_is_no_annotation_is_refused(self, tmp_path, note):
        coco(tmp_path, [note])
        with pytest.raises(InputError):
            mask_of(read(tmp_path))

    @pytest.mark.parametrize("counts", [[10**12, 1], [-3, 83], [80, 1], []])
    def test_run_lengths_that_do_not_fill_the_photo_are_refused(self, counts):
        with pytest.raises(InputError, match="run lengths"):
            RunLengths(tuple(counts), (8, 10)).draw(WHOLE, SIZE)

    def test_text_that_is_no_json_is_refused(self, tmp_path):
        (tmp_path / "a.json").write_text("{" * 100_000)
        with pytest.raises(InputError, match="not a COCO annotation"):
            read(tmp_path)


def compressed(counts: list[int]) -> str:
    """COCO's text form, written from its description."""
    text = ""
    for at, count in enumerate(counts):
        value = count - counts[at - 2] if at > 2 else count
        while True:
            bits, value = value & 31, value >> 5
            done = value == (-1 if bits & 16 else 0)
            text += chr(48 + bits + (0 if done else 32))
            if done:
                break
    return text


class TestVoc:
    XML = """<annotation><size><width>10</width><height>8</height></size><object><name>zebra</name>
      <bndbox><xmin>3</xmin><ymin>2</ymin><xmax>6</xmax><ymax>4</ymax></bndbox></object></annotation>"""

    def test_boxes_count_from_one_and_include_the_last_pixel(self, tmp_path):
        (tmp_path / "cat.xml").write_text(self.XML)
        truth = read(tmp_path)
        assert truth.kind == "VOC XML"
        assert np.array_equal(mask_of(truth, index=1), rectangle(2, 1, 6, 4))

    def test_entities_are_refused(self, tmp_path):
        (tmp_path / "cat.xml").write_text('<!DOCTYPE a [<!ENTITY b "c">]>' + self.XML)
        with pytest.raises(InputError, match="declares entities"):
            read(tmp_path)

    def test_broken_xml_is_refused(self, tmp_path):
        (tmp_path / "cat.xml").write_text(self.XML[:-9])
        with pytest.raises(InputError, match="is not XML"):
            read(tmp_path)


class TestYolo:
    def test_boxes_and_polygons_in_shares_with_names_beside_them(self, tmp_path):
        (tmp_path / "classes.txt").write_text("tabby\nzebra\n")
        (tmp_path / "cat.txt").write_text("0 0.4 0.25 0.4 0.25\n1 0.1 0.125 0.3 0.125 0.3 0.5 0.1 0.5\n\n")
        truth = read(tmp_path)
        assert truth.kind == "YOLO text"
        assert np.array_equal(mask_of(truth), rectangle(2, 1, 6, 3))
        assert mask_of(truth, index=1)[1:4, 1:3].all()

    def test_numbers_without_names_need_a_mapping(self, tmp_path):
        (tmp_path / "labels").mkdir()
        (tmp_path / "labels" / "cat.txt").write_text("0 0.4 0.25 0.4 0.25\n")
        with pytest.raises(UsageError, match=r'label "0" of the ground truth is not a class of the model. Say what labels mean'):
            read(tmp_path / "labels")
        mapping = tmp_path / "map.csv"
        mapping.write_text("0,zebra\n")
        assert mask_of(read(tmp_path / "labels", mapping), index=1).any()

    @pytest.mark.parametrize("line", ["0 1 2 3", "0 1 2 3 4 5", "cat 0.1 0.1 0.1 0.1", "0 a b c d", "0 0.1 inf 0.1 0.1"])
    def test_lines_that_are_no_annotation_are_refused(self, tmp_path, line):
        (tmp_path / "cat.txt").write_text(line)
        with pytest.raises(InputError, match=r"cat.txt"):
            read(tmp_path)


class TestBoxes:
    def test_a_csv_with_the_models_classes_in_it(self, tmp_path):
        (tmp_path / "boxes.csv").write_text(
            "file,width,height,label,imagenet_indices,x0,y0,x1,y1\ncat.jpg,10,8,beast,0;1,2,1,6,4\ncat.jpg,10,8,bird,2,0,0,1,1\n"
        )
        (tmp_path / "class_map.csv").write_text("label,imagenet_indices\nbeast,0;1\n")
        truth = read(tmp_path)
        assert truth.kind == "boxes of a CSV"
        assert all(np.array_equal(mask_of(truth, index=index), rectangle(2, 1, 6, 4)) for index in (0, 1))
        assert mask_of(truth, index=3) is None

    def test_a_mapping_goes_before_what_the_file_says_and_unnamed_labels_have_no_class(self, tmp_path):
        (tmp_path / "boxes.csv").write_text(
            "file,label,imagenet_indices,x0,y0,x1,y1\ncat.jpg,beast,0,2,1,6,4\ncat.jpg,bird,2,0,0,1,1\n"
        )
        mapping = tmp_path / "map.csv"
        mapping.write_text("label,classes\nBeast,zebra;3\n")
        truth = read(tmp_path / "boxes.csv", mapping)
        assert [mask_of(truth, index=index) is None for index in range(4)] == [True, False, True, False]

    def test_boxes_without_labels_count_for_any_target(self, tmp_path):
        (tmp_path / "boxes.csv").write_text("image,xmin,ymin,xmax,ymax\nsome/cat.jpg,2,1,6,4\n")
        assert all(mask_of(read(tmp_path), index=index).sum() == 12 for index in range(4))


class TestMasks:
    def png(self, path: Path, mask: np.ndarray, mode: str = "L") -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray((mask * 255).astype(np.uint8)).convert(mode).save(path)

    @pytest.mark.parametrize("mode", ["L", "1", "RGB", "RGBA"])
    def test_what_is_not_zero_is_the_object(self, tmp_path, mode):
        self.png(tmp_path / "cat.png", rectangle(2, 1, 6, 4), mode)
        assert np.array_equal(mask_of(read(tmp_path)), rectangle(2, 1, 6, 4))

    def test_a_folder_below_names_the_class(self, tmp_path):
        self.png(tmp_path / "zebra" / "cat.png", rectangle(2, 1, 6, 4))
        self.png(tmp_path / "tabby" / "cat.png", rectangle(0, 0, 1, 1))
        truth = read(tmp_path)
        assert mask_of(truth, index=1).sum() == 12
        assert mask_of(truth, index=0).sum() == 1

    def test_the_border_of_a_palette_belongs_to_nobody(self, tmp_path):
        values = np.where(rectangle(2, 1, 6, 4), 3, 0).astype(np.uint8)
        values[0, 0] = 255
        picture = Image.fromarray(values, "L")
        picture.putpalette(list(range(256)) * 3)
        picture.save(tmp_path / "cat.png")
        assert np.array_equal(mask_of(read(tmp_path)), rectangle(2, 1, 6, 4))

    def test_another_size_is_refused(self, tmp_path):
        self.png(tmp_path / "cat.png", np.ones((4, 4), dtype=bool))
        with pytest.raises(InputError, match=r"cat.png is 4 x 4 pixels, its photo 10 x 8"):
            mask_of(read(tmp_path))

    @pytest.mark.parametrize("content", [b"", b"no picture", b"\x89PNG\r\n\x1a\n" + b"\0" * 40])
    def test_a_file_that_is_no_png_is_refused(self, tmp_path, content):
        (tmp_path / "cat.png").write_bytes(content)
        with pytest.raises(InputError, match="not a readable mask"):
            mask_of(read(tmp_path))

    def test_photos_in_png_beside_other_annotations_are_no_masks(self, tmp_path):
        self.png(tmp_path / "cat.png", rectangle(0, 0, 9, 7))
        (tmp_path / "boxes.csv").write_text("file,x0,y0,x1,y1\ncat.png,2,1,6,4\n")
        assert mask_of(read(tmp_path), "cat.png").sum() == 12


class TestMatching:
    def truth(self, folder: Path, names: list[str]):
        lines = [f"{name},{at},0,{at + 1},1" for at, name in enumerate(names)]
        (folder / "boxes.csv").write_text("\n".join(["file,x0,y0,x1,y1", *lines]))
        return read(folder)

    def column(self, truth, path: str) -> int | None:
        mask = mask_of(truth, path)
        return None if mask is None else int(np.argwhere(mask)[0][1])

    def test_photos_are_found_by_stem_wherever_they_lie(self, tmp_path):
        truth = self.truth(tmp_path, ["train/cat.jpg", "dog.v2.jpg"])
        assert self.column(truth, "/data/photos/cat.jpg") == 0
        assert self.column(truth, "cat.png") == 0
        assert self.column(truth, "x/dog.v2.jpg") == 1
        assert self.column(truth, "dog.jpg") is None

    def test_folders_tell_annotations_of_one_name_apart(self, tmp_path):
        truth = self.truth(tmp_path, ["a/cat.jpg", "b/cat.jpg"])
        assert [self.column(truth, f"photos/{folder}/cat.jpg") for folder in "ab"] == [0, 1]
        with pytest.raises(InputError, match=r"cat.jpg fits two annotations, a/cat.jpg and b/cat.jpg"):
            self.column(truth, "cat.jpg")

    def test_endings_tell_annotations_of_one_stem_apart(self, tmp_path):
        truth = self.truth(tmp_path, ["cat.jpg", "cat.png"])
        assert [self.column(truth, f"cat.{ending}") for ending in ("jpg", "png")] == [0, 1]

    def test_two_photos_never_share_an_annotation(self, tmp_path):
        truth = self.truth(tmp_path, ["cat.jpg"])
        assert truth.count(["cat.jpg", "dog.jpg"]) == 1
        with pytest.raises(InputError, match=r"a/cat.jpg and b/cat.jpg would both have the annotation of cat.jpg"):
            truth.count(["a/cat.jpg", "b/cat.jpg"])

    def test_truth_for_none_of_the_photos_is_refused(self, tmp_path):
        with pytest.raises(InputError, match="no photo is annotated: the ground truth names cat"):
            self.truth(tmp_path, ["cat.jpg"]).count(["dog.jpg"])


class TestClasses:
    def boxes(self, folder: Path, label: str) -> Path:
        path = folder / "boxes.csv"
        path.write_text(f"file,label,x0,y0,x1,y1\ncat.jpg,{label},2,1,6,4\n")
        return path

    @pytest.mark.parametrize("label", ["tabby", "Tabby_Cat"])
    def test_a_label_is_a_class_name_or_a_synonym(self, tmp_path, label):
        assert mask_of(read(self.boxes(tmp_path, label))).any()

    @pytest.mark.parametrize(
        ("label", "why"), [("dog", "is not a class"), ("crane", "is the name of 2 classes"), ("1", "is not a class")]
    )
    def test_a_label_that_is_not_one_class_asks_for_a_mapping(self, tmp_path, label, why):
        with pytest.raises(UsageError, match=why):
            read(self.boxes(tmp_path, label))

    @pytest.mark.parametrize(
        ("text", "why"),
        [("a,0\nb,9\n", "line 2"), ("a,0\nb\n", "line 2"), ("label,index\n", "maps no label"), ("", "maps no label")],
    )
    def test_a_mapping_that_cannot_be_read_is_refused(self, tmp_path, text, why):
        mapping = tmp_path / "map.csv"
        mapping.write_text(text)
        with pytest.raises(UsageError, match=why):
            read(self.boxes(tmp_path, "dog"), mapping)


class TestView:
    """Shapes go through resize and crop as the photo does: 40 x 20 to 20 x 10, of which the middle 10 x 10 is seen."""

    view = View(resize=10, crop=10)
    size = (40, 20)
    expected = np.zeros((10, 10), dtype=bool)
    expected[2:7, 1:6] = True

    @pytest.mark.parametrize(
        "shape",
        [
            Rectangle((12, 4, 22, 14)),
            Polygons(((12, 4, 22, 4, 22, 14, 12, 14),)),
            Polygons(((0.3, 0.2, 0.55, 0.2, 0.55, 0.7, 0.3, 0.7),), relative=True),
            RelativeRectangle((12 / 40, 4 / 20, 22 / 40, 14 / 20)),
            RunLengths((12 * 20 + 4, *[10, 10] * 9, 10, 18 * 20 + 6), (20, 40)),
        ],
        ids=lambda shape: type(shape).__name__,
    )
    def test_a_region_lands_where_the_model_sees_it(self, shape):
        assert np.array_equal(shape.draw(self.view, self.size), self.expected)

    def test_a_mask_is_resized_by_its_nearest_pixels(self, tmp_path):
        mask = np.zeros((20, 40), dtype=np.uint8)
        mask[4:14, 12:22] = 1
        Image.fromarray(mask).save(tmp_path / "a.png")
        assert np.array_equal(MaskFile(tmp_path / "a.png").draw(self.view, self.size), self.expected)

    def test_what_the_crop_cuts_off_is_an_empty_mask_not_a_missing_one(self, tmp_path):
        (tmp_path / "boxes.csv").write_text("file,x0,y0,x1,y1\ncat.jpg,0,0,5,5\n")
        known = read(tmp_path).of("cat.jpg", self.size, self.view)
        assert known.mask(0) is not None
        assert not known.mask(0).any()


def test_a_polygon_may_reach_beyond_the_photo():
    triangle = Polygons(((-5, 0, 5, 4, -5, 8),)).draw(WHOLE, SIZE)
    assert triangle[3, :4].all()
    assert not triangle[:, 5:].any()
    centres = [(x + 0.5, y + 0.5) for y in range(8) for x in range(10)]
    expected = [x < 5 - 10 * abs(y - 4) / 4 for x, y in centres]
    assert triangle.flatten().tolist() == expected


@pytest.mark.parametrize("what", ["missing", "empty"])
def test_a_place_without_annotations_is_refused(tmp_path, what):
    place = tmp_path / what
    if what == "empty":
        place.mkdir()
        (place / "notes.csv").write_text("a,b\n1,2\n")
    with pytest.raises(InputError, match=r"no ground truth at|holds no annotations"):
        read(place)


def test_annotations_of_two_kinds_are_refused(tmp_path):
    coco(tmp_path, [{"category_id": 17, "bbox": [0, 0, 1, 1]}])
    (tmp_path / "boxes.csv").write_text("file,x0,y0,x1,y1\ncat.jpg,0,0,5,5\n")
    with pytest.raises(InputError, match=r"several kinds: .json, .csv"):
        read(tmp_path)


@pytest.mark.real
def test_the_boxes_of_the_assets_are_read_with_their_classes(assets):
    classes = [f"class {index}" for index in range(1000)]
    truth = read_truth(assets / "boxes", classes, 1000)
    photos = sorted((assets / "boxes").glob("*.jpg"))
    assert truth.count(map(str, photos)) == len(photos) == 100
    for photo in photos[-5:]:
        known = truth.of(str(photo), Image.open(photo).size, View())
        assert known.mask(104).any()
        assert known.mask(0) is None
