"""Sequences of frames: from files, folders, arrays and videos to the network's input, and what is refused."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from xaicli.errors import InputError
from xaicli.images.contact_print import tiles
from xaicli.images.sequence import SequenceReading, decode_sequence, frames_in_all
from xaicli.images.source import Source, content_hash
from xaicli.images.view import View

SHADES = (0, 50, 100, 150, 200, 250)
VIEW = View((8, 10), None, mean=(0.0,) * 3, std=(1.0,) * 3, frames=3)


def frame(shade: int, size: tuple[int, int] = (20, 16)) -> Image.Image:
    return Image.new("RGB", size, (shade, shade, 0))


def moving(kind: str, shades: tuple[int, ...] = SHADES) -> bytes:
    pictures, stream = [frame(shade) for shade in shades], io.BytesIO()
    options: dict[str, Any] = {"lossless": True} if kind == "WEBP" else {}
    pictures[0].save(stream, kind, save_all=True, append_images=pictures[1:], duration=40, **options)
    return stream.getvalue()


def video(shades: tuple[int, ...] = SHADES, codec: str = "mpeg4") -> bytes:
    av = pytest.importorskip("av")
    stream = io.BytesIO()
    with av.open(stream, "w", format="mp4") as container:
        track = container.add_stream(codec, rate=10)
        track.width, track.height, track.pix_fmt, track.bit_rate = 64, 48, "yuv420p", 4_000_000
        for shade in shades:
            picture = av.VideoFrame.from_image(frame(shade, (64, 48)))
            container.mux(track.encode(picture))
        container.mux(track.encode())
    return stream.getvalue()


def shades_of(inputs: torch.Tensor, frames: int = 3) -> list[int]:
    """The red of each frame of an input, 0..255."""
    assert inputs.shape == (3 * frames, 8, 10)
    return [round(255 * float(one[0].mean())) for one in inputs.unflatten(0, (frames, 3))]


@pytest.fixture
def file_of(tmp_path: Path) -> Callable[[bytes, str], Source]:
    def write(content: bytes, name: str) -> Source:
        (tmp_path / name).write_bytes(content)
        return Source.of_file(tmp_path / name, path=name)

    return write


def started(source: Source, first: int) -> Source:
    return Source(source.path, source.name, first, source.file, source.memory, parts=source.parts)


@pytest.mark.parametrize(("kind", "name"), [("GIF", "a.gif"), ("WEBP", "a.webp"), ("PNG", "a.png"), ("TIFF", "a.tif")])
def test_frames_of_a_moving_picture_follow_one_another(file_of: Any, kind: str, name: str) -> None:
    source = file_of(moving(kind), name)
    photo, inputs = decode_sequence(source, VIEW)
    assert shades_of(inputs) == list(SHADES[:3])
    assert (photo.frame, photo.frames, photo.size) == (0, 6, (20, 16))
    assert photo.content == content_hash(source)
    assert photo.notes[0] == "frames 0 to 2 of 6"


def test_one_of_so_many_frames_from_a_first_one_on(file_of: Any) -> None:
    view = View((8, 10), None, mean=(0.0,) * 3, std=(1.0,) * 3, frames=2, frame_step=3)
    photo, inputs = decode_sequence(started(file_of(moving("GIF"), "a.gif"), 1), view)
    assert shades_of(inputs, 2) == [SHADES[1], SHADES[4]]
    assert photo.notes[0] == "frames 1 to 4 of 6, one of 3"


def test_the_picture_shows_the_frames_side_by_side(file_of: Any) -> None:
    photo, _ = decode_sequence(file_of(moving("PNG"), "a.png"), VIEW)
    seen = [photo.image.crop(box).getpixel((5, 5)) for box in tiles(photo.image.size, 3)]
    assert seen == [(shade, shade, 0) for shade in SHADES[:3]]


def test_each_frame_is_prepared_as_a_photo(file_of: Any) -> None:
    source = file_of(moving("PNG"), "a.png")
    _, inputs = decode_sequence(source, VIEW)
    alone = [VIEW.of_frame.prepare(frame(shade)) for shade in SHADES[:3]]
    assert torch.equal(inputs, torch.cat(alone))


def test_parts_are_frames_in_their_order(tmp_path: Path) -> None:
    parts = []
    for number, shade in enumerate(SHADES):
        frame(shade).save(tmp_path / f"{number}.png")
        parts.append(Source.of_file(tmp_path / f"{number}.png"))
    source = Source("frames", file=tmp_path, parts=tuple(parts))
    photo, inputs = decode_sequence(source, VIEW)
    assert shades_of(inputs) == list(SHADES[:3])
    assert photo.content == content_hash(source)
    other = Source("frames", file=tmp_path, parts=tuple(parts[:5]))
    assert content_hash(other) != content_hash(source)


@pytest.mark.parametrize("channels_first", [False, True])
def test_an_array_of_four_axes_is_a_sequence(channels_first: bool) -> None:
    array = np.stack([np.asarray(frame(shade)) for shade in SHADES])
    memory = torch.from_numpy(array.transpose(0, 3, 1, 2).copy()) if channels_first else array
    photo, inputs = decode_sequence(Source.of(memory), VIEW)
    assert shades_of(inputs) == list(SHADES[:3])
    assert photo.frames == 6


def test_a_file_of_an_array_is_a_sequence(file_of: Any) -> None:
    stream = io.BytesIO()
    np.save(stream, np.stack([np.asarray(frame(shade)) for shade in SHADES]))
    _, inputs = decode_sequence(file_of(stream.getvalue(), "a.npy"), VIEW)
    assert shades_of(inputs) == list(SHADES[:3])


def test_a_moving_picture_in_memory_shows_the_same_frame_afterwards() -> None:
    picture = Image.open(io.BytesIO(moving("GIF")))
    picture.seek(2)
    _, inputs = decode_sequence(Source.of(picture), VIEW)
    assert shades_of(inputs) == list(SHADES[:3])
    assert picture.tell() == 2


def test_a_video_is_read_frame_by_frame(file_of: Any) -> None:
    photo, inputs = decode_sequence(started(file_of(video(), "a.mp4"), 2), VIEW)
    assert shades_of(inputs) == pytest.approx(SHADES[2:5], abs=8)
    assert photo.size == (64, 48)
    assert photo.notes[0] == "frames 2 to 4"


def test_all_frames_are_counted(file_of: Any) -> None:
    sources = [file_of(moving("GIF"), "a.gif"), file_of(moving("WEBP"), "b.webp"), file_of(video(), "c.mp4")]
    assert frames_in_all(sources, 0, 1) == 6
    assert frames_in_all(sources, 1, 2) == 3


def test_all_frames_of_sequences_of_two_lengths_are_refused(file_of: Any) -> None:
    sources = [file_of(moving("GIF"), "a.gif"), file_of(moving("GIF", SHADES[:4]), "b.gif")]
    with pytest.raises(
        InputError, match=r"b.gif holds 4 frames, and a.gif 6; expected sequences of one length .* Give --frames 4."
    ):
        frames_in_all(sources, 0, 1)


@pytest.mark.parametrize("kind", ["gif", "mp4", "array"])
def test_a_sequence_shorter_than_the_window_is_refused(file_of: Any, kind: str) -> None:
    view = View((8, 10), None, mean=(0.0,) * 3, std=(1.0,) * 3, frames=9)
    if kind == "array":
        source = Source.of(np.zeros((6, 16, 20, 3), np.uint8), name="a.array")
    else:
        source = file_of(moving("GIF") if kind == "gif" else video(), f"a.{kind}")
    with pytest.raises(
        InputError, match=rf"a.{kind} holds 6 frames, and the network reads frames 0 to 8; .* Give --frames 6 or fewer."
    ):
        decode_sequence(source, view)


def test_a_still_photo_is_a_sequence_of_one_frame(file_of: Any) -> None:
    stream = io.BytesIO()
    frame(90).save(stream, "JPEG")
    with pytest.raises(
        InputError, match=r"a.jpg holds 1 frame, .* a GIF, WebP or APNG of several frames, a folder of frames, or a video"
    ):
        decode_sequence(file_of(stream.getvalue(), "a.jpg"), VIEW)


def test_frames_of_two_sizes_are_refused(tmp_path: Path) -> None:
    for number, size in enumerate([(20, 16), (20, 16), (10, 16)]):
        frame(9, size).save(tmp_path / f"{number}.png")
    parts = tuple(Source.of_file(tmp_path / f"{number}.png") for number in range(3))
    with pytest.raises(
        InputError, match=r"frame 2 of clip has 10 x 16 pixels, and the first has 20 x 16; expected frames of one size"
    ):
        decode_sequence(Source("clip", file=tmp_path, parts=parts), VIEW)


@pytest.mark.parametrize(
    ("content", "name"), [(b"no pictures in here", "a.txt"), (b"", "b.gif"), (b"PK\x03\x04" + bytes(60), "c.zip")]
)
def test_what_is_no_sequence_is_refused(file_of: Any, content: bytes, name: str) -> None:
    with pytest.raises(InputError, match=name):
        decode_sequence(file_of(content, name), VIEW)


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "mp4"])
def test_a_sequence_that_is_cut_short_is_refused(file_of: Any, kind: str) -> None:
    whole = video() if kind == "mp4" else moving(kind)
    with pytest.raises(InputError) as caught:
        decode_sequence(file_of(whole[: len(whole) // 3], f"a.{kind}"), VIEW)
    assert f"a.{kind}" in caught.value.line()
    assert "\n" not in caught.value.line()


def test_a_video_without_pictures_is_refused(file_of: Any) -> None:
    av = pytest.importorskip("av")
    stream = io.BytesIO()
    with av.open(stream, "w", format="mp4") as container:
        track = container.add_stream("aac", rate=8000)
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        sound.sample_rate = 8000
        container.mux(track.encode(sound))
        container.mux(track.encode())
    with pytest.raises(InputError, match=r"a.mp4 holds no video stream; expected a video with frames"):
        decode_sequence(file_of(stream.getvalue(), "a.mp4"), VIEW)


@pytest.mark.parametrize("kind", ["GIF", "mp4"])
def test_a_sequence_gets_no_more_time_than_a_photo(file_of: Any, kind: str) -> None:
    content = video() if kind == "mp4" else moving(kind)
    with pytest.raises(InputError, match=rf"a.{kind} takes longer than 1e-09 s to decode"):
        decode_sequence(file_of(content, f"a.{kind}"), VIEW, SequenceReading(seconds=1e-9))


def test_a_video_without_pyav_names_the_extra(file_of: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    source = file_of(video(), "a.mp4")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(InputError, match=r'a.mp4 is a video, and av is not installed. Type: pip install "xaicli\[video\]"'):
        decode_sequence(source, VIEW)


def test_a_playlist_opens_no_other_file(file_of: Any) -> None:
    """A list of further files, under the name of a video, is never handed to the video library."""
    for text in (
        b"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nfile:///etc/hostname\n",
        b"ffconcat version 1.0\nfile /etc/hostname\n",
    ):
        with pytest.raises(InputError, match="is no sequence of frames: it is text"):
            decode_sequence(file_of(text, "a.mp4"), VIEW)


def test_frames_are_recorded_where_there_are_any() -> None:
    assert not {"frames", "frame_step"} & set(View().as_dict())
    assert VIEW.as_dict()["frames"] == 3
    assert View.from_dict(VIEW.as_dict()) == VIEW
    assert VIEW.of_frame == View.from_dict({key: value for key, value in VIEW.as_dict().items() if key != "frames"})


def test_the_colours_of_a_sequence_are_the_mean_of_its_frames(file_of: Any) -> None:
    _, inputs = decode_sequence(file_of(moving("PNG"), "a.png"), VIEW)
    colours = VIEW.colours(inputs)
    assert colours.shape == (3, 8, 10)
    torch.testing.assert_close(colours[0], torch.full((8, 10), sum(SHADES[:3]) / 3 / 255))


def test_a_baseline_of_one_shade_is_normalised_in_every_frame() -> None:
    view = View((4, 4), None, mean=(0.1, 0.2, 0.3), std=(0.5, 0.5, 0.25), frames=2)
    white = view.normalise(torch.ones(6, 4, 4))
    torch.testing.assert_close(white[:, 0, 0], torch.tensor([1.8, 1.6, 2.8, 1.8, 1.6, 2.8]))
