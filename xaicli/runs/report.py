"""`xaicli.report`: one HTML page of a store."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from xaicli.claims import claim
from xaicli.errors import UsageError
from xaicli.files import LIKE_FILES, require_writable
from xaicli.images.figure import DPI, WIDTH_CM, claim_figure, save_figure
from xaicli.progress import SILENT, Progress
from xaicli.results.curves_figure import curves_figure
from xaicli.results.report.curves import mean_curves
from xaicli.results.report.page import MOST_PHOTOS, write_report
from xaicli.results.store import Store
from xaicli.results.summary import summarise
from xaicli.runs.written_file import WrittenFile


def report(
    store: str | Path,
    output: str | Path = "report.html",
    *,
    photos: str | Path | Sequence[str | Path] = (),
    most: int = MOST_PHOTOS,
    figure: str | Path | None = None,
    figure_width: float = WIDTH_CM,
    figure_columns: int = 2,
    dpi: int = DPI,
    overwrite: bool = False,
    progress: Progress = SILENT,
) -> WrittenFile:
    """Write one self-contained HTML page of a store: the table of means, curves, and a gallery of photos, worst first.

    photos: folders to search for photos that have moved; most: maximum photos in the gallery; figure: also a .pdf, .svg or .png
    of the mean curves, figure_width centimetres wide, panels in figure_columns; overwrite: replace files that xai did not write.
    Raises UsageError for the name of another kind of file, InputError if the store holds no scores, or if a file cannot be read
    or written.

        xaicli.report("scores.db", "report.html")
    """
    if Path(output).suffix.lower() in LIKE_FILES - {".html"}:
        hint = "For a table: xai export." if Path(output).suffix.lower() in (".csv", ".json") else ""
        raise UsageError(
            f"{output} has the name of another kind of file", expected="the name of a page (-o FILE.html)", hint=hint
        )
    claim(Path(output), [Path(store)], overwrite=overwrite)
    require_writable(Path(output).parent)
    folders = [photos] if isinstance(photos, str | Path) else list(photos)
    if figure is not None:
        claim_figure(Path(figure), [Path(store)], overwrite=overwrite)
    with Store.open(store, write=False) as opened, progress.task("photos", min(most, len(opened.photos()))) as step:
        shown = write_report(opened, Path(output), folders=[Path(folder) for folder in folders], most_photos=most, tick=step)
        if figure is not None:
            drawn = curves_figure(summarise(opened), mean_curves(opened), width_cm=figure_width, columns=figure_columns)
            save_figure(drawn, Path(figure), dpi)
            progress.say(f"figure {figure}")
    return WrittenFile(Path(output), shown, "photo")
