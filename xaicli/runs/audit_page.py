"""The page of an audit: clusters with their mean maps and members, the worst errors and the most suspicious photos."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from xaicli.errors import InputError
from xaicli.images.grid_picture import grid_picture
from xaicli.results.report.sections import PagePicture, PictureGroup, Section, table_rows, write_sections
from xaicli.runs.audit_result import CLUSTER_COLUMNS, Audit, filled
from xaicli.survey.finding import PhotoFinding
from xaicli.survey.suspicion import order, worst_errors
from xaicli.words import count

PAGE = "audit.html"
CLUSTERS, MEMBERS = 12, 8
"""At most so many clusters are shown, each with so many photos."""
PHOTOS = 24
ROWS = 500
CLUSTERS_ABOUT = (
    "Maps of each class in groups of alike ones (SpRAy). Those come first whose maps lie at one place of the border, in the same "
    "sixteenth of every photo: a watermark looks like that.",
    "Groups of a single photo are left out. Stability is the adjusted Rand index between these groups and those of random four "
    "fifths of the photos.",
)
PHOTOS_ABOUT = (
    "disagreement: 1 less the mean rank correlation of the methods. outside: share of the map beside the marked object. border: "
    "share within an eighth of the side (0.44 of an even map). corner: share in the strongest corner (0.06 of an even map)."
)


def write_audit_page(result: Audit, path: Path, model: str) -> None:
    """Write the page beside the maps, which it shows."""
    about = f"{count(len(result.findings), 'photo')} as {model} decides them; maps of {result.method} are grouped and measured"
    write_sections(path, f"Audit of {model}", about, sections_of(result))


def sections_of(result: Audit) -> list[Section]:
    clusters = result.cluster_table
    errors = worst_errors(result.findings)
    return [
        Section("What stands out", tuple(result.sentences)),
        Section(
            "Clusters of maps", CLUSTERS_ABOUT, table_rows(clusters, filled(clusters, CLUSTER_COLUMNS)), cluster_groups(result)
        )
        if clusters
        else Section("Clusters of maps"),
        Section("Confusions", (), table_rows(result.confusions, ("label", "decision", "photos", "of"))),
        Section("Worst errors", (), (), tuple(photo_group(result.findings[at]) for at in errors[:PHOTOS])),
        Section(
            f"Photos to look at first (by {result.by})",
            (PHOTOS_ABOUT,),
            (),
            tuple(photo_group(result.findings[at]) for at in order(result.findings, result.by)[:PHOTOS]),
        ),
        Section("All photos" if len(result.rows) <= ROWS else f"The first {ROWS} photos", (), photo_rows(result)),
    ]


def photo_rows(result: Audit) -> tuple[tuple[str, ...], ...]:
    rows, columns = result.photo_table(result.rows[:ROWS])
    return table_rows(rows, columns)


def cluster_groups(result: Audit) -> tuple[PictureGroup, ...]:
    """For each of the first clusters its mean map and its most typical members."""
    groups = []
    for cluster in [one for one in result.clusters if len(one.members) > 1][:CLUSTERS]:
        mean = PagePicture.of(grid_picture(cluster.mean), f"mean of {count(len(cluster.members), 'map')}")
        members = [result.findings[at] for at in cluster.members[:MEMBERS]]
        title = f"Cluster {cluster.number}: {cluster.target}, {cluster.where}"
        groups.append(PictureGroup(title, (mean, *pictures(members, result.method))))
    return tuple(groups)


def pictures(findings: Sequence[PhotoFinding], method: str) -> list[PagePicture]:
    """The overlays of one method, as far as they are there."""
    return [picture for one in findings if (picture := overlay_of(one, method, name_of(one))) is not None]


def photo_group(finding: PhotoFinding) -> PictureGroup:
    """One photo under each method."""
    label = f", labelled {finding.label}" if finding.label is not None else ""
    known = [
        f"{name} {value:.2f}" for name in ("disagreement", "outside", "border", "corner") if (value := getattr(finding, name))
    ]
    shown = [picture for method in finding.stems if (picture := overlay_of(finding, method, method)) is not None]
    said = finding.explained if finding.p is None else f"decided {finding.decision} ({finding.p:.2f})"
    title = f"{name_of(finding)}: {said}{label}"
    return PictureGroup(title, tuple(shown), ", ".join([*known, *([finding.quadrant] if finding.quadrant else [])]))


def name_of(finding: PhotoFinding) -> str:
    """The photo's name without the folders of this machine."""
    path = Path(finding.image)
    return path.name if path.is_absolute() else finding.image


def overlay_of(finding: PhotoFinding, method: str, caption: str) -> PagePicture | None:
    """The overlay that the run wrote, small; None where the map cannot be drawn."""
    stem = finding.stems.get(method)
    if stem is None:
        return None
    path = stem.with_name(f"{stem.name}.png")
    try:
        with Image.open(path) as opened:
            return PagePicture.of(opened, caption)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise InputError(f"{path} cannot be read as a picture: {error}", hint="Make it again with --overwrite.") from error
