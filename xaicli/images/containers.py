"""Which files are videos, by their first bytes."""

from __future__ import annotations

CONTAINERS = {
    b"\x1aE\xdf\xa3": "matroska,webm",
    b"\x00\x00\x01\xba": "mpeg",
    b"\x00\x00\x01\xb3": "mpegvideo",
    b"OggS": "ogg",
    b"FLV\x01": "flv",
    b"\x30\x26\xb2\x75": "asf",
}
"""Demuxers by a file's first bytes. No others are tried: some of them open further files that a playlist names."""
STILL = (b"avif", b"avis", b"heic", b"heix", b"hevc", b"mif1", b"msf1")
"""Brands of files of photos that begin as an MP4 does."""
MPEG_TS = 188
"""Bytes between two sync bytes of a transport stream."""


def container_of(content: bytes) -> str:
    """The demuxer for the bytes of a video; empty if they are no video."""
    if content[4:8] in (b"ftyp", b"moov", b"mdat") and content[8:12] not in STILL:
        return "mov,mp4,m4a,3gp,3g2,mj2"
    if content[:4] == b"RIFF" and content[8:12] == b"AVI ":
        return "avi"
    if content[:1] == b"G" and content[MPEG_TS : MPEG_TS + 1] == b"G":
        return "mpegts"
    return next((name for magic, name in CONTAINERS.items() if content.startswith(magic)), "")
