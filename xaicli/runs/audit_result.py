"""The result of an audit: tables, and the file that `xai augment` reads."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from xaicli.errors import InputError, UsageError, XaiError, fault_in_content
from xaicli.files import write_atomic
from xaicli.images.view import View
from xaicli.runs.folder import FolderRun
from xaicli.stamps import with_checksum, without_checksum
from xaicli.survey.class_groups import MapCluster, stands_out, words
from xaicli.survey.finding import PhotoFinding, rounded
from xaicli.survey.map_grids import GRID, Floats
from xaicli.survey.suspicion import confusions, order, suspicions
from xaicli.tabular import Tabular
from xaicli.text_table import rendered
from xaicli.untrusted import read
from xaicli.words import count
from xaicli.writable_text import json_text

FILE = "audit.json"
SCHEMA = 2
"""Above the first schema, which has no checksum."""
LARGEST = 1 << 30
PHOTO_COLUMNS = (
    "image",
    "label",
    "decision",
    "p",
    "explained",
    "disagreement",
    "outside",
    "border",
    "corner",
    "quadrant",
    "cluster",
)
BEFORE = PHOTO_COLUMNS.index("disagreement")
"""Where the column stands by which photos are sorted, if it is none of these."""
CLUSTER_COLUMNS = ("cluster", "class", "photos", "place", "share", "interval", "outside", "wrong", "stability")
SHOWN_CLUSTERS = 10


@dataclass(frozen=True, eq=False, repr=False)
class Audit(Tabular):
    """The findings in all photos, and the clusters of their maps, the most striking first.

    method: whose maps were grouped; by, most: the order of the printed photos and how many there are; plan: of a dry run, what
    would be made. `rows` holds a record per photo, the most suspicious first.
    """

    findings: tuple[PhotoFinding, ...] = ()
    clusters: tuple[MapCluster, ...] = ()
    method: str = ""
    by: str = "suspicion"
    most: int = 20
    errors: tuple[XaiError, ...] = ()
    plan: list[dict[str, Any]] = field(default_factory=list)

    @classmethod
    def planned(cls, plan: list[dict[str, Any]]) -> Audit:
        return cls(plan=plan)

    def records(self) -> list[dict[str, Any]]:
        if self.plan:
            return self.plan
        suspicion = suspicions(self.findings)
        number = {at: cluster.number for cluster in self.clusters for at in cluster.members}
        return [
            {**self.findings[at].record(), "cluster": number.get(at), "suspicion": rounded(float(suspicion[at]))}
            for at in order(self.findings, self.by)
        ]

    @property
    def cluster_rows(self) -> list[dict[str, Any]]:
        """A record per cluster, the most striking first."""
        return [cluster.record(self.findings) for cluster in self.clusters]

    @property
    def cluster_table(self) -> list[dict[str, Any]]:
        """The records of clusters of at least two photos, with their interval as text."""
        return [row | {"interval": interval(row)} for row in self.cluster_rows if row["photos"] > 1]

    @property
    def confusions(self) -> list[dict[str, Any]]:
        """How often each label was taken for another class."""
        return confusions(self.findings)

    @property
    def sentences(self) -> list[str]:
        """What the numbers say, in words."""
        lines = [f"{words(one)}: a watermark or a habit of the photos?" for one in self.clusters if one.is_striking]
        if self.clusters and not lines:
            lines.append("No group of maps stands out at one place of the border.")
        judged = [one.right for one in self.findings if one.right is not None]
        if judged:
            lines.append(f"Decided wrongly: {judged.count(False)} of {count(len(judged), 'labelled photo')}.")
        shortcuts = sum(one.quadrant == "shortcut" for one in self.findings)
        if shortcuts:
            verb = "is" if shortcuts == 1 else "are"
            lines.append(f"{count(shortcuts, 'photo')} {verb} right, but most of the map lies beside the object (shortcut).")
        return lines

    def render(self, format: str = "table", *, width: int = 0) -> str:
        """A table of the clusters, one of the first photos, and sentences; or everything as json."""
        if self.plan:
            return rendered(self.plan, format, width=width)
        if format == "json":
            content = {"clusters": self.cluster_rows, "photos": self.rows, "confusions": self.confusions}
            return json_text(content)
        if format != "table":
            raise UsageError(f'an audit has no format "{format}"', expected="table or json")
        clusters = self.cluster_table[:SHOWN_CLUSTERS]
        groups = {row["cluster"] for row in self.cluster_table}
        shown = [
            row | {"label": row["label"] or None, "cluster": row["cluster"] if row["cluster"] in groups else None}
            for row in self.rows[: self.most]
        ]
        photos, columns = self.photo_table(shown)
        parts = [
            rendered(clusters, "table", filled(clusters, CLUSTER_COLUMNS), width=width),
            rendered(photos, "table", columns, width=width),
            "\n".join(self.sentences),
        ]
        return "\n\n".join(part for part in parts if part)

    def photo_table(self, rows: Sequence[dict[str, Any]]) -> tuple[list[dict[str, Any]], list[str]]:
        """Records of photos and the columns to show, with what they are sorted by marked, as in `suspicion ↓`."""
        names = PHOTO_COLUMNS if self.by in PHOTO_COLUMNS else (*PHOTO_COLUMNS[:BEFORE], self.by, *PHOTO_COLUMNS[BEFORE:])
        marked = f"{self.by} ↓"
        made = [row | {marked: row[self.by]} for row in rows]
        return made, filled(made, [marked if name == self.by else name for name in names])

    def __repr__(self) -> str:
        return f"Audit({count(len(self.findings), 'photo')}, {count(len(self.clusters), 'cluster')})"


def interval(row: dict[str, Any]) -> str | None:
    return None if row["low"] is None else f"[{row['low']:.2f}, {row['high']:.2f}]"


def filled(rows: Sequence[dict[str, Any]], columns: Sequence[str]) -> list[str]:
    """The columns in which some row has a value."""
    return [name for name in columns if any(row.get(name) is not None for row in rows)]


def write_audit(result: Audit, path: Path, run: FolderRun) -> None:
    """Write what `xai augment` needs, and all tables, as JSON; whole or not at all."""
    clusters = [
        row
        | {
            "mean": [[round(float(share), 6) for share in line] for line in cluster.mean],
            "members": [result.findings[at].photo for at in cluster.members],
        }
        for row, cluster in zip(result.cluster_rows, result.clusters, strict=True)
    ]
    photos = [
        row | {"photo": one.photo, "frame": one.frame, "map": one.stems[result.method].relative_to(path.parent).as_posix()}
        for row, one in zip(result.rows, (result.findings[at] for at in order(result.findings, result.by)), strict=True)
    ]
    content = {
        "schema_version": SCHEMA,
        "model": run.classifier.name,
        "fingerprint": run.classifier.fingerprint,
        "view": run.classifier.view.as_dict(),
        "method": result.method,
        "clusters": clusters,
        "photos": photos,
        "confusions": result.confusions,
    }
    text = json_text({"generator": "xaicli", **with_checksum(content)}) + "\n"
    write_atomic(path, lambda file: file.write(text.encode()))


@dataclass(frozen=True, eq=False)
class StoredAudit:
    """An audit as its file tells it. means: the mean map (16, 16) of each cluster, by number; members: hashes of their photos;
    striking: the clusters that stand out; photos: the records of all photos by hash."""

    path: Path
    view: View
    method: str
    means: dict[int, Floats]
    members: dict[int, frozenset[str]]
    striking: tuple[int, ...]
    photos: dict[str, dict[str, Any]]


def by_content(rows: Iterable[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """The records of photos by hash. A photo that lies in the audit twice, under two labels, has none."""
    found: dict[str, dict[str, Any]] = {}
    for row in rows:
        known = found.setdefault(str(row["photo"]), dict(row))
        if known.get("label") != row.get("label"):
            known["label"] = None
    return found


def read_audit(path: Path) -> StoredAudit:
    """Read the file of an audit, or that in a folder; raises InputError if it is none, damaged or of a newer version."""
    wanted = "audit.json, which xai audit writes"
    text = read(path, wanted, LARGEST).decode("utf-8", "replace")
    try:
        given = json.loads(text)
        if given.pop("generator") != "xaicli":
            raise ValueError("another generator")
        newer = int(given["schema_version"]) > SCHEMA
        if not newer:
            given = without_checksum(given, given["schema_version"])
            means = {int(row["cluster"]): np.array(row["mean"], dtype=np.float64) for row in given["clusters"]}
            if any(mean.shape != (GRID, GRID) or not np.isfinite(mean).all() or mean.min() < 0 for mean in means.values()):
                raise ValueError("a mean map of another shape")
            members = {int(row["cluster"]): frozenset(map(str, row["members"])) for row in given["clusters"]}
            striking = tuple(int(row["cluster"]) for row in given["clusters"] if stands_out(row.get("low")))
            view, method = View.from_dict(given["view"]), str(given["method"])
            return StoredAudit(path, view, method, means, members, striking, by_content(given["photos"]))
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise InputError(f"{path} is not the file of an audit ({fault_in_content(error)})", expected=wanted) from error
    raise InputError(f"{path} was written by a newer version", expected=f"schema {SCHEMA}", hint="Upgrade xaicli.")
