"""Prompts, with which a text-image model compares photos: typed, or from a file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from xaicli.errors import UsageError
from xaicli.grammar import split, unescape

HOLE = "{}"
"""The place of the prompt in a template."""
WAYS = '--prompts "a photo of a cat,a photo of a dog", or --classes FILE with one prompt a line'


@dataclass(frozen=True)
class Prompts:
    """Prompts, each of which is a class. given: from `--prompts`; classes: from `--classes`, which names the classes of other
    models; templates: sentences with {} in the place of each prompt."""

    given: tuple[str, ...] = ()
    templates: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """The prompts without their templates, which are the class names; raises UsageError if there are none."""
        names = self.given or self.classes
        if self.given and self.classes:
            raise UsageError("prompts are given twice, by --prompts and by --classes", hint="Keep one of them.")
        for place, name in enumerate(names):
            if not name.strip():
                raise UsageError(f"prompt {place + 1} of {len(names)} is empty", expected=WAYS)
            if name in names[:place]:
                raise UsageError(f'the prompt "{name}" occurs twice', expected="each prompt once")
        return names

    @property
    def sentences(self) -> tuple[tuple[str, ...], ...]:
        """The sentences: for each prompt, one per template; raises UsageError if a template has no place for it."""
        for template in self.templates:
            if HOLE not in template:
                raise UsageError(f'the template "{template}" has no {HOLE}', hint='Type --template "a photo of a {}".')
            if set("{}") & set(template.replace(HOLE, "")):
                raise UsageError(f'the template "{template}" has a brace beside {HOLE}', expected=f"{HOLE} alone for the prompt")
        return tuple(tuple(text.replace(HOLE, name) for text in self.templates or (HOLE,)) for name in self.names)

    def require(self, model: str) -> None:
        """Raise UsageError unless there are prompts for that text-image model."""
        if not self.names:
            raise UsageError(f"{model} compares photos with texts, but none are given", expected=WAYS)

    def refuse(self, model: str) -> None:
        """Raise UsageError if prompts were given for a model that has its own classes."""
        if self.given or self.templates:
            option = "--prompts" if self.given else "--template"
            raise UsageError(
                f"{model} reads no texts, but {option} is given",
                expected="a text-image model, such as hf:openai/clip-vit-base-patch32",
                hint=f"Leave {option} out.",
            )


def read_prompts(
    prompts: str | Sequence[str] | None, template: str | Sequence[str] | None, classes: tuple[str, ...] | None
) -> Prompts:
    """Prompts as given: a text is a list joined by commas (a comma inside one takes a backslash), a template one sentence."""
    if isinstance(prompts, str):
        prompts = [unescape(part).strip() for part in split(prompts, ",")]
    templates = (template,) if isinstance(template, str) else tuple(template or ())
    given = tuple(prompts or ())
    if not all(isinstance(text, str) for text in (*given, *templates)):
        raise UsageError("prompts and templates are texts", expected=WAYS)
    return Prompts(given, templates, classes or ())
