"""What is wrong with the bytes of a photo, in words: truncated, damaged, or not a photo at all."""

from __future__ import annotations

import struct

from PIL import features

from xaicli.images.containers import container_of
from xaicli.images.tiff_directory import tiff_tag
from xaicli.words import are, count

MAGIC = {
    b"\xff\xd8\xff": "JPEG",
    b"\x89PNG\r\n\x1a\n": "PNG",
    b"GIF8": "GIF",
    b"BM": "BMP",
    b"II*\0": "TIFF",
    b"MM\0*": "TIFF",
    b"II+\0": "TIFF",
    b"MM\0+": "TIFF",
    b"P1": "PBM",
    b"P4": "PBM",
    b"P2": "PGM",
    b"P5": "PGM",
    b"P3": "PPM",
    b"P6": "PPM",
}

OTHERS = {
    b"%PDF": "a PDF",
    b"PK\x03\x04": "a ZIP archive",
    b"\x1f\x8b": "a gzip archive",
    b"8BPS": "a Photoshop file",
    b"\x00\x00\x01\x00": "an icon (ICO)",
    b"\xff\x0a": "a JPEG XL photo",
    b"\x00\x00\x00\x0cJXL ": "a JPEG XL photo",
    b"\x00\x00\x00\x0cjP  ": "a JPEG 2000 photo",
    b"\xff\x4f\xff\x51": "a JPEG 2000 photo",
    b"\x93NUMPY": "a NumPy array",
    b"version https://git-lfs": "a Git LFS pointer, not the file itself (git lfs pull fetches it)",
}

SAMPLES = 277
"""The TIFF tag for samples per pixel."""

CUT_SHORT = ("truncated", "unexpected end", "end of file", "not enough image data", "buffer is not large enough", "incomplete")


def unidentified(content: bytes) -> str:
    """Why no decoder accepted these bytes."""
    kind = kind_of(content)
    if kind == "TIFF" and (bands := tiff_tag(content, SAMPLES) or 0) > 4:
        return (
            f"it is a TIFF of {count(bands, 'band')}, and it does not say which are red, green and blue (save those three alone)"
        )
    if kind in ("WebP", "AVIF") and not features.check(kind.lower()):
        return f"it is {kind}, which this installation of Pillow cannot read"
    if kind:
        return f"its {kind} header is damaged or cut short ({size_text(len(content))})"
    for magic, name in OTHERS.items():
        if content.startswith(magic):
            return f"it is {name}"
    if content[4:8] == b"ftyp":
        brand = content[8:12].decode("ascii", "replace")
        return (
            "it is a HEIC photo (convert it to JPEG)"
            if brand[:3] in ("hei", "hev", "mif")
            else f"it is a video ({brand.strip()})"
        )
    if container_of(content):
        return "it is a video"
    if not content.strip(b"\0"):
        return "it holds nothing but zeros"
    return text_kind(content) or "its format is not known (JPEG, PNG, WebP, TIFF, BMP, GIF, AVIF and PPM are)"


def undecodable(content: bytes, error: Exception) -> str:
    """Why a decoder gave up on these bytes."""
    kind = kind_of(content) or "image"
    said = str(error).lower()
    length, promised = len(content), promised_length(content)
    short = isinstance(error, (EOFError, struct.error, IndexError)) or any(words in said for words in CUT_SHORT)
    if promised > length:
        if size_text(length) == size_text(promised):
            return f"its last {count(promised - length, 'byte')} {are(promised - length)} missing (truncated {kind})"
        return f"it ends after {size_text(length)} of {size_text(promised)} (truncated {kind})"
    if short and (kind != "JPEG" or not content.rstrip(b"\0\r\n").endswith(b"\xff\xd9")):
        return f"it ends after {size_text(length)}, before the picture is complete (truncated {kind})"
    detail = str(error).strip().rstrip(".") or type(error).__name__
    return f"its {kind} data is damaged ({detail})"


def kind_of(content: bytes) -> str:
    """The format that the first bytes claim; empty if we do not read it."""
    if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
        return "WebP"
    if content[4:12] in (b"ftypavif", b"ftypavis"):
        return "AVIF"
    if content[128:132] == b"DICM":
        return "DICOM"
    return next((name for magic, name in MAGIC.items() if content.startswith(magic)), "")


def promised_length(content: bytes) -> int:
    """The length of the whole file according to its header; 0 if the format does not state it."""
    kind = kind_of(content)
    if kind == "WebP":
        return int.from_bytes(content[4:8], "little") + 8
    if kind == "BMP" and len(content) >= 6:
        return int.from_bytes(content[2:6], "little")
    return 0


def text_kind(content: bytes) -> str:
    """What kind of text this is; empty if it is not text."""
    head = content[:4096]
    try:
        text = head.decode("utf-8")
    except UnicodeDecodeError as error:
        if error.start < len(head) - 4:
            return ""
        text = head[: error.start].decode("utf-8")
    if not text.strip() or any(ord(char) < 32 and char not in "\t\r\n\f" for char in text):
        return ""
    start = text.lstrip("\ufeff \t\r\n").lower()
    if start.startswith("<svg") or (start.startswith("<?xml") and "<svg" in start):
        return "it is an SVG drawing"
    if start.startswith(("<!doctype html", "<html")):
        return "it is a web page (HTML), perhaps from a failed download"
    return "it is text, not a picture"


def size_text(length: int) -> str:
    """A length in bytes, KiB or MiB."""
    if length < 1024:
        return count(length, "byte")
    return f"{length / 1024:.0f} KiB" if length < 10 * 2**20 else f"{length / 2**20:.0f} MiB"
