"""The options that name ground truth."""

from __future__ import annotations

from xaicli.cli.options import Decorator, option, stack

FORMS = "a folder of masks (PNG), YOLO or VOC files, or a file of COCO JSON or of boxes (CSV)"


def truth_option(group: str, what: str = "Ground truth") -> Decorator:
    """`--truth` under a heading of the help; what: whose marks it holds, in words."""
    return option(group, "--truth", metavar="DIR|FILE", help=f"{what}: {FORMS}.")


def truth_options(group: str, what: str = "Ground truth") -> Decorator:
    """`--truth` and `--truth-classes`."""
    classes = "CSV of annotation labels and the model's classes."
    return stack(truth_option(group, what), option(group, "--truth-classes", metavar="FILE", help=classes))
