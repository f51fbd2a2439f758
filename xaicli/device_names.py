"""The names of devices, known without torch: a wrong one is refused before anything is imported."""

from __future__ import annotations

from xaicli.errors import UsageError

DEVICES = ("auto", "cpu", "cuda", "mps")


def device_name(wanted: str) -> str:
    """A device's name as it is written, such as `cuda:1`; raises UsageError if it is none. Whether it exists is seen later."""
    text = wanted.strip().lower()
    kind, colon, index = text.partition(":")
    if kind not in DEVICES or (colon and not (index.isdecimal() and kind != "auto")):
        raise UsageError(f'no device "{wanted}"', expected="auto, cpu, cuda, cuda:INDEX or mps")
    return text
