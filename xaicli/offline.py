"""Whether downloads are forbidden for all that a process does: by the variable XAI_OFFLINE, which also carries the setting."""

from __future__ import annotations

import os

VARIABLE = "XAI_OFFLINE"
TRUE, FALSE = ("1", "true", "yes", "on"), ("0", "false", "no", "off")


def is_offline() -> bool:
    return os.environ.get(VARIABLE, "").strip().lower() in TRUE
