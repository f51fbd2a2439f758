"""What is said of an explaining run: what a photo costs, and how it went."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from xaicli.errors import XaiError
from xaicli.progress import Progress
from xaicli.runs.folder import FolderRun
from xaicli.runs.written_map import WrittenMap
from xaicli.words import count, span

SHEET = "sheet.png"


def cost_of(run: FolderRun) -> str:
    """The cost of a photo, in words."""
    costs = ", ".join(f"{label} {str(cost).removesuffix(' passes')}" for label, cost in run.cost().items())
    return f"{costs} {'pass' if costs.endswith(' 1') else 'passes'} per photo"


def summarise(
    run: FolderRun,
    done: Sequence[WrittenMap],
    noted: Mapping[str, str],
    errors: Sequence[XaiError],
    seconds: float,
    progress: Progress,
) -> None:
    """Say how a run went, and warn of maps that cannot be used. noted: photos with what their records say of how their numbers
    became pixels; the first is said."""
    photos = len({written.source for written in done})
    kept = sum(written.kept for written in done)
    what = "sequence" if run.classifier.view.frames else "photo"
    parts = [f"{count(photos, what)} x {count(len(run.methods), 'method')} in {span(seconds)}"]
    if kept:
        parts.append(f"{kept} of {count(len(done), 'map')} complete before (--overwrite makes them again)")
    if errors:
        parts.append(f"{count(len(errors), what)} failed")
    folder = run.output.shown(str(run.output.folder))
    if done:
        parts.append(f"sheet {folder}/{SHEET}" if run.sheet else f"maps, overlays and records in {folder}/")
    progress.say("; ".join(parts))
    for image, note in list(noted.items())[:1]:
        progress.say(f"{image}: {note}" + (" (of each photo: its record's notes)" if len(noted) > 1 else ""))
    odd = [written for written in done if written.status != "ok"]
    if odd:
        named = ", ".join(f"{written.stem.name} is {written.status}" for written in odd[:3])
        progress.warn(f"{count(len(odd), 'map')} with no score: {named}")
