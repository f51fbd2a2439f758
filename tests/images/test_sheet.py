"""Contact sheets, strips and moving pictures."""

import io

import numpy as np
import pytest
from PIL import Image

from xaicli.errors import InputError, UsageError
from xaicli.images.colour import Scale
from xaicli.images.sheet import PAPER, Sheet, SheetCell, SheetRow, sheet
from xaicli.images.steps import animation, strip
from xaicli.images.text import font, shortened
from xaicli.images.view import View
from xaicli.method import Sign

VIEW = View(64, 56)


def photo_of(at=0, size=(90, 60)):
    return Image.new("RGB", size, (at * 37 % 200, 90, 160))


def map_of(at=0):
    values = np.zeros((7, 7), dtype=np.float32)
    values[at % 7, at * 3 % 7] = 1 + at
    return values


def row_of(at=0, columns=("grad-cam", "rise"), size=(90, 60), **cells):
    photo = photo_of(at, size)
    drawn = {column: SheetCell(map_of(at), Sign.NONNEGATIVE, ("deletion 0.12",)) for column in columns}
    return SheetRow(photo, VIEW.geometry(*size), f"photo {at}.jpg", ("tabby 0.81",), {**drawn, **cells})


def used(picture):
    """Which pixels are not paper."""
    return (np.asarray(picture) != PAPER).any(axis=2)


@pytest.mark.parametrize(("count", "columns"), [(1, 1), (1, 3), (5, 2), (40, 1), (200, 1), (30, 5)])
def test_sheets_of_any_number_of_photos_fit_the_width(count, columns):
    names = [f"method-{at}" for at in range(columns)]
    picture = sheet((row_of(at, names) for at in range(count)), names, count=count)
    assert picture.width <= 1600
    assert used(picture)[:, :20].sum() == used(picture)[:, -20:].sum() == 0
    assert used(picture)[-60:].any()


@pytest.mark.parametrize("count", [1, 3])
def test_more_methods_than_fit_stand_in_bands_below_each_other(count):
    names = [f"method-{at}" for at in range(16)]
    picture = sheet((row_of(at, names) for at in range(count)), names, count=count, title="net")
    assert picture.width <= 1600
    first, second = (sheet((row_of(at, own) for at in range(count)), own, count=count) for own in (names[:8], names[8:]))
    assert np.array_equal(np.asarray(picture)[-second.height :, : second.width], np.asarray(second))
    titled = sheet((row_of(at, names[:8]) for at in range(count)), names[:8], count=count, title="net")
    assert np.array_equal(np.asarray(picture)[: titled.height, : titled.width], np.asarray(titled))
    assert first.height < titled.height


def test_many_photos_stand_in_blocks_side_by_side():
    few, many = Sheet(("a",), 3), Sheet(("a",), 100)
    assert few.blocks == 1
    assert many.blocks > 2
    assert many.cell < few.cell


def test_each_picture_stands_in_its_place():
    drawing = Sheet(("a", "b"), 2)
    for at in range(2):
        drawing.add(row_of(at, ("a", "b"), size=(60, 60)))
    picture = np.asarray(drawing.picture()).astype(int)
    x, y = drawing.left(0, 0), drawing.top + drawing.line + 4
    assert picture[y + 5, x + 5].tolist() == [0, 90, 160]
    assert np.abs(picture[y + 5, drawing.left(0, 2) + 2] - [0, 90, 160]).max() <= 2


def test_photos_upright_and_lying_are_not_stretched():
    drawing = Sheet(("a",), 2)
    drawing.add(row_of(0, ("a",), size=(90, 30)))
    first = drawing.next_row[0]
    drawing.add(row_of(1, ("a",), size=(30, 90)))
    assert drawing.next_row[0] - first > 1.5 * (first - drawing.top)


def test_rows_may_come_one_by_one_and_no_more_than_announced():
    drawing = Sheet(("a",), 1)
    drawing.add(row_of(0, ("a",)))
    with pytest.raises(UsageError, match="no room for one more"):
        drawing.add(row_of(1, ("a",)))
    with pytest.raises(UsageError, match="no photos"):
        sheet([], ["a"])


def test_fewer_rows_than_announced_leave_no_empty_paper():
    names = ("a",)
    assert sheet(iter([row_of(0, names)]), names, count=3).height < sheet([row_of(at, names) for at in range(3)], names).height


@pytest.mark.parametrize(
    "cell",
    [
        SheetCell(np.full((7, 7), 0.3, np.float32), Sign.NONNEGATIVE),
        SheetCell(np.array([[np.nan, 1]], np.float32), Sign.SIGNED),
        SheetCell(np.full((2, 2), np.inf, np.float32), Sign.NONNEGATIVE, ("deletion 0.5",)),
    ],
)
def test_a_map_with_nothing_to_show_leaves_a_pale_photo_and_words(cell):
    drawing = Sheet(("a", "b"), 1)
    drawing.add(row_of(0, ("a",), b=cell))
    picture = np.asarray(drawing.picture()).astype(int)
    x, y = drawing.left(0, 2), drawing.top + drawing.line + 4
    red, green, blue = picture[y + 20, x + 20]
    assert red == green == blue > 150
    below = picture[y + round(drawing.cell * 60 / 90) + 4 :, x : x + drawing.cell]
    assert (below < 128).any()


def test_a_map_that_is_missing_leaves_a_pale_photo():
    drawing = Sheet(("a", "b"), 1)
    drawing.add(row_of(0, ("a",)))
    red, green, blue = np.asarray(drawing.picture())[drawing.top + drawing.line + 24, drawing.left(0, 2) + 20]
    assert red == green == blue


def test_a_common_scale_has_one_bar_on_top_and_none_below():
    scales = {"a": Scale(0, 5)}
    drawing = Sheet(("a",), 3, scales)
    for at in range(3):
        drawing.add(row_of(at, ("a",)))
    assert len(drawing.bars) == 1
    alone = Sheet(("a",), 3)
    for at in range(3):
        alone.add(row_of(at, ("a",)))
    assert len(alone.bars) == 3


def test_the_same_rows_give_the_same_bytes():
    names = ["grad-cam", "rise"]
    first, second = (sheet([row_of(at) for at in range(3)], names, title="resnet50") for _ in range(2))
    assert first.tobytes() == second.tobytes()


def test_names_of_any_kind_are_drawn():
    names = ["rise@n_masks=8000@" + "x" * 300]
    row = SheetRow(photo_of(), VIEW.geometry(90, 60), "名前\n\x1b[31m" + "y" * 5000, ("",), {})
    assert sheet([row], names, title="t" * 3000).width <= 1600


@pytest.mark.parametrize("width", [20, 60, 150, 400])
def test_long_text_is_shortened_in_its_middle_to_the_width(width):
    text = "layer-cam@layer=features.18.conv.0.0.weight"
    short = shortened(text, width, 13)
    assert font(13).getlength(short) <= width
    assert short == text or "…" in short
    if width >= 150:
        assert short.startswith("layer")
        assert short.endswith(text[-4:])


def test_text_that_fits_stays_and_control_characters_go():
    assert shortened("tabby 0.81", 400, 13) == "tabby 0.81"
    assert shortened("a\nb\x1b[1m", 400, 13) == "a b [1m"
    assert shortened("anything", 1, 13) == "…"


STEPS = np.stack([map_of(3) * at / 5 for at in range(1, 6)])


def test_a_strip_shows_all_steps_on_one_scale():
    photo = photo_of()
    geometry = VIEW.geometry(*photo.size)
    picture = strip(photo, STEPS, geometry, Sign.NONNEGATIVE)
    assert picture.width <= 1600
    tall = strip(photo, STEPS, geometry, Sign.NONNEGATIVE, width=600)
    assert tall.width <= 600
    assert tall.height > picture.height
    rising = [np.abs(np.diff(np.asarray(picture).astype(int)[60:170, x : x + 240], axis=0)).sum() for x in range(20, 1200, 248)]
    assert rising == sorted(rising)


@pytest.mark.parametrize("kind", ["gif", "webp"])
def test_a_moving_picture_has_a_frame_a_step_and_holds_the_last(kind):
    photo = photo_of()
    made = animation(photo, STEPS, VIEW.geometry(*photo.size), Sign.NONNEGATIVE, kind=kind, side=120, milliseconds=100)
    assert made == animation(photo, STEPS, VIEW.geometry(*photo.size), Sign.NONNEGATIVE, kind=kind, side=120, milliseconds=100)
    with Image.open(io.BytesIO(made)) as moving:
        assert moving.format == kind.upper()
        assert moving.n_frames == 5
        assert moving.width == 120
        times = []
        for frame in range(5):
            moving.seek(frame)
            moving.load()
            times.append(moving.info["duration"])
    assert times == [100] * 4 + [400]


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        ({"kind": "mp4"}, UsageError),
        ({"milliseconds": 1}, UsageError),
        ({"labels": ["one"]}, UsageError),
        ({"colormap": "no such"}, UsageError),
    ],
)
def test_a_moving_picture_that_cannot_be_is_refused(wrong, error):
    with pytest.raises(error):
        animation(photo_of(), STEPS, VIEW.geometry(90, 60), Sign.NONNEGATIVE, **wrong)


@pytest.mark.parametrize("maps", [np.zeros((0, 7, 7)), np.zeros((7, 7)), np.full((2, 7, 7), np.nan)])
def test_steps_that_are_no_maps_are_refused(maps):
    for draw in (strip, animation):
        with pytest.raises(InputError):
            draw(photo_of(), maps, VIEW.geometry(90, 60), Sign.NONNEGATIVE)
