"""The result of a public function: plain records that print as the command's table."""

from __future__ import annotations

import abc
import html
from collections.abc import Sequence
from functools import cached_property
from typing import Any, ClassVar

from xaicli.packages import require
from xaicli.text_table import cell, rendered


class Tabular(abc.ABC):
    """Records of one result. `print(result)` shows what the command of the same name shows, and a notebook draws a table.

    columns: the keys that the table shows (empty: all); `rows` has everything.
    """

    columns: ClassVar[Sequence[str]] = ()
    streamed: ClassVar[bool] = False
    """Whether every row was already reported by `progress.row` during the run."""

    @abc.abstractmethod
    def records(self) -> list[dict[str, Any]]:
        """Plain records, as `--format json` prints them."""

    @cached_property
    def rows(self) -> list[dict[str, Any]]:
        """Plain records, as `--format json` prints them."""
        return self.records()

    @property
    def shown(self) -> list[str]:
        """The columns of the printed table."""
        return list(self.columns or (self.rows[0] if self.rows else ()))

    def render(self, format: str = "table", *, width: int = 0) -> str:
        """The result as table, markdown, latex, json, jsonl or csv; width: of the table in terminal columns, 0 for no limit."""
        return rendered(self.rows, format, self.shown, width=width)

    def __str__(self) -> str:
        return self.render()

    def to_pandas(self) -> Any:
        """The records as a pandas DataFrame; raises InputError, which says what to install, if pandas is missing."""
        return require("pandas", "pandas").DataFrame(self.rows)

    def _repr_html_(self) -> str:
        head = "".join(f"<th>{html.escape(name)}</th>" for name in self.shown)
        body = "".join(
            f"<tr>{''.join(f'<td>{html.escape(cell(row.get(name)))}</td>' for name in self.shown)}</tr>" for row in self.rows
        )
        return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
