"""In what a method differs from itself, as results count it: in words, and as the error of a run that may not go on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from xaicli.errors import RunError
from xaicli.method import Method, content_on
from xaicli.network.classifier import Classifier


def require_same(method: Method, classifier: Classifier, content: Mapping[str, Any], began: str) -> None:
    """Raise RunError unless a method still counts as the run began with, by `content_on`; began: where that was, in words."""
    here = content_on(method, classifier)
    if here != content:
        listed = moved_parameters(content["parameters"], here["parameters"]) or ["its version or its code"]
        raise RunError(
            f"{method.label} is another than {began}: {', '.join(listed)}",
            expected="the same for all photos of a run",
            hint="Give the command again for what is missing.",
        )


def moved_parameters(there: Mapping[str, Any], here: Mapping[str, Any]) -> list[str]:
    """The parameters in which two contents of a method differ, in words; of a base only those that differ in it."""
    found: list[str] = []
    for name in dict.fromkeys([*there, *here]):
        old, new = there.get(name, "absent"), here.get(name, "absent")
        if is_content(old) and is_content(new) and old["name"] == new["name"]:
            if old.get("version") != new.get("version"):
                found.append(f"version of {name} {old.get('version')} there, {new.get('version')} here")
            found += [f"{name} {new['name']}: {words}" for words in moved_parameters(old["parameters"], new["parameters"])]
        elif old != new:
            found.append(f"{name} {in_words(old)} there, {in_words(new)} here")
    return found


def is_content(value: object) -> bool:
    """Whether a parameter's value is a definition, as `params.as_json` writes it."""
    return isinstance(value, Mapping) and isinstance(value.get("name"), str) and isinstance(value.get("parameters"), Mapping)


def in_words(value: Any) -> str:
    return str(value["name"] if is_content(value) else value)
