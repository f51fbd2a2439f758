"""How much a command says: -v, -q, --no-progress, --debug, accepted before and after the command's name."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import click

from xaicli.cli.file_names import MayNameFile

KEY = "xaicli.verbosity"


@dataclass
class Verbosity:
    """The verbosity of one command line."""

    verbose: bool = False
    quiet: bool = False
    progress: bool = True
    debug: bool = False

    @classmethod
    def current(cls) -> Verbosity:
        """The verbosity of the command that is running."""
        context = click.get_current_context(silent=True)
        found = cls() if context is None else context.find_root().meta.setdefault(KEY, cls())
        assert isinstance(found, cls)
        return found

    @staticmethod
    def debug_wanted() -> bool:
        """Whether --debug is on the command line, even if parsing it failed."""
        return "--debug" in sys.argv

    @property
    def shows_progress(self) -> bool:
        return self.progress and not self.quiet and sys.stderr.isatty()

    def say(self, text: str) -> None:
        """A line for people, on stderr."""
        if not self.quiet:
            click.secho(text, err=True, dim=True)

    def warn(self, text: str) -> None:
        """A line that is shown even with -q."""
        click.secho(f"warning: {text}", err=True, fg="yellow")


def setter(name: str, value: bool) -> Callable[[click.Context, click.Parameter, bool], None]:
    def set_verbosity(ctx: click.Context, parameter: click.Parameter, given: bool) -> None:
        if given:
            setattr(ctx.find_root().meta.setdefault(KEY, Verbosity()), name, value)

    return set_verbosity


def verbosity_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options to a command."""
    for flags, name, value, text in (
        (("--debug",), "debug", True, "Show tracebacks."),
        (("--no-progress",), "progress", False, "No progress bar."),
        (("-q", "--quiet"), "quiet", True, "Say nothing on stderr but errors and warnings."),
        (("-v", "--verbose"), "verbose", True, "Say more on stderr."),
    ):
        command = click.option(
            *flags, is_flag=True, expose_value=False, callback=setter(name, value), help=text, cls=Grouped, group="Messages"
        )(command)
    return command


class Grouped(MayNameFile, click.Option):
    """An option that the help shows under a heading."""

    def __init__(self, *args: Any, group: str = "Options", **kwargs: Any) -> None:
        kwargs.setdefault("show_default", True)
        if isinstance(kwargs.get("type"), click.IntRange | click.FloatRange):
            kwargs.setdefault("metavar", "N" if isinstance(kwargs["type"], click.IntRange) else "X")
        super().__init__(*args, **kwargs)
        self.group = group


class Command(click.Command):
    """A command whose help starts with examples and lists its options under headings.

    meant: of a command without arguments, what an argument is most likely meant to be and the option that takes it, such as
    ("the suite", "--suite"); the refusal names it.
    """

    def __init__(self, *args: Any, examples: str = "", meant: tuple[str, str] | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.examples = examples
        self.meant = meant

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if self.meant is None:
            return super().parse_args(ctx, args)
        ctx.allow_extra_args = True
        further = super().parse_args(ctx, args)
        if further and not ctx.resilient_parsing:
            what, flag = self.meant
            ctx.fail(f"{ctx.command_path} takes no argument. Write {flag} {shlex.quote(further[0])} if that is {what}")
        return further

    def format_help_text(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        super().format_help_text(ctx, formatter)
        if self.examples:
            with formatter.section("Examples"):
                for line in self.examples.strip().splitlines():
                    formatter.write(f"{'':{formatter.current_indent}}{line.strip()}\n")

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        groups: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx) if isinstance(parameter, click.Option) else None
            if record is not None:
                groups.setdefault(getattr(parameter, "group", "Messages"), []).append(record)
        for heading in sorted(groups, key=lambda heading: heading == "Messages"):
            with formatter.section(heading):
                formatter.write_dl(groups[heading])
