"""What the class of a method or of a metric must define; a class that does not is refused before it is used."""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from xaicli.errors import RunError


@dataclass(frozen=True)
class Duty:
    """What each class must define: its name, an example, and for what is no function the type of its value."""

    name: str
    example: str
    kind: type = object


def refuse_neglected(cls: type[Any], base: type[Any], duties: Iterable[Duty], where: str) -> None:
    """Raise RunError if a class derived from `base` is no dataclass, or lacks one of its duties; where: the class, in words."""
    if fields := undecorated(cls):
        raise RunError(f"{where} has {fields[0]}, but is no dataclass", expected="@dataclass(frozen=True, kw_only=True) above it")
    for duty in duties:
        declared = getattr(cls, duty.name)
        if declared is getattr(base, duty.name):
            raise RunError(f"{where} has no {duty.name}", expected=f"{duty.example} in the class")
        if not isinstance(declared, duty.kind | property):
            raise RunError(f"{where} has {duty.name} = {declared!r}", expected=f"{duty.example} in the class")


def undecorated(cls: type[Any]) -> list[str]:
    """The annotated fields of a class without `@dataclass`, which would not become parameters."""
    if "__dataclass_fields__" in vars(cls):
        return []
    return [name for name, kind in inspect.get_annotations(cls).items() if "ClassVar" not in str(kind)]
