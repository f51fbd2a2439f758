"""The command `xai`: finds a command, runs it, and turns errors into one line and an exit code."""

from __future__ import annotations

import importlib
import logging
import os
import re
import signal
import sys
import traceback
import warnings
from collections.abc import Callable, Sequence
from types import FrameType
from typing import NamedTuple

import click

from xaicli.cli.allocator import keep_freed_memory
from xaicli.cli.idle_threads import sleep_while_waiting
from xaicli.cli.streams import ReaderGone, close_results, set_up_streams
from xaicli.cli.usage_words import usage_line
from xaicli.cli.verbosity import Verbosity, verbosity_options
from xaicli.cli.witness import witnessed
from xaicli.containment import apart
from xaicli.errors import LESS_MEMORY, Terminated, XaiError, described, did_you_mean, is_out_of_memory, stop_behind
from xaicli.packages import broken_pair

PATIENCE, SOON = 5.0, 0.01
"""Seconds after which a run that has not ended is told again to end, and where Python dropped the first call."""

COMPLETING = "_XAI_COMPLETE"
"""The variable by which a shell asks for completions; click ends such a run with SystemExit."""

CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 120}


class CommandSummary(NamedTuple):
    """Where a command is, and its line in the overview, which is shown without importing the command.

    goes_on: whether a run that was stopped keeps what was finished, and the same command makes only the rest.
    """

    section: str
    module: str
    summary: str
    goes_on: bool = False


COMMANDS = {
    "explain": CommandSummary("Explain", "explain", "draw what a classifier looked at", goes_on=True),
    "compare": CommandSummary("Explain", "compare", "methods side by side, with scores", goes_on=True),
    "audit": CommandSummary("Explain", "audit", "photos that are right for the wrong reason, and groups of maps", goes_on=True),
    "aggregate": CommandSummary("Explain", "aggregate", "mean maps of a data set: position, locality, channels", goes_on=True),
    "augment": CommandSummary("Explain", "augment", "copies of photos without what an audit found in them"),
    "list": CommandSummary("Explain", "listing", "methods, metrics, models, layers, checkpoints"),
    "describe": CommandSummary("Explain", "describe", "a method or metric: parameters, cost, needs, paper"),
    "score": CommandSummary("Measure", "score", "score heatmaps of many photos into a store", goes_on=True),
    "trust": CommandSummary("Measure", "trust", "which methods find what is really there, in your network", goes_on=True),
    "report": CommandSummary("Measure", "report", "one HTML page: table, curves, gallery"),
    "export": CommandSummary("Measure", "export", "rows of a store as CSV, JSON lines or Parquet"),
    "merge": CommandSummary("Measure", "merge", "join the stores of shards"),
    "baseline": CommandSummary("Guard", "baseline", "store a suite's results for later checks"),
    "check": CommandSummary("Guard", "check", "compare a suite with its baseline"),
    "parity": CommandSummary("Guard", "parity", "does an export look where the original looks"),
    "verify": CommandSummary("Guard", "verify", "make maps or scores again from their records, and compare"),
    "bundle": CommandSummary("Guard", "bundle", "maps, records and scores as evidence in one file"),
    "train": CommandSummary("Train", "train", "train an explainer, or a classifier", goes_on=True),
    "study": CommandSummary("Train", "study", "a method's branch against the same network without it", goes_on=True),
    "bank": CommandSummary("Train", "bank", "a memory bank of features for self-supervised networks", goes_on=True),
    "doctor": CommandSummary("Look after", "doctor", "versions, devices, plugins; a model's layer and its pitfalls"),
    "cache": CommandSummary("Look after", "cache", "downloaded weights: list, locate or clear them"),
    "config": CommandSummary("Look after", "config", "defaults that are set, and where"),
    "completion": CommandSummary("Look after", "completion", "shell completion for bash, zsh or fish"),
}


class Overview(click.Group):
    """Commands grouped by purpose, imported when they are run."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        command = importlib.import_module(f"xaicli.cli.{COMMANDS[name].module}").command
        assert isinstance(command, click.Command)
        return command

    def resolve_command(self, ctx: click.Context, args: list[str]) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            near = did_you_mean(args[0], COMMANDS)
            raise click.UsageError(f'no command "{args[0]}". {near} (xai --help)'.replace("  ", " "))
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        for section in dict.fromkeys(entry.section for entry in COMMANDS.values()):
            with formatter.section(section):
                formatter.write_dl([(name, entry.summary) for name, entry in COMMANDS.items() if entry.section == section])


def show_version(ctx: click.Context, parameter: click.Parameter, value: bool) -> None:
    if value and not ctx.resilient_parsing:
        from importlib.metadata import version

        click.echo(f"xai {version('xaicli')}")
        ctx.exit()


@click.group(cls=Overview, context_settings=CONTEXT, epilog="First try:  xai explain sample:hopper")
@click.option("--version", is_flag=True, expose_value=False, is_eager=True, callback=show_version, help="Show the version.")
@verbosity_options
def cli() -> None:
    """Explain what a vision model looked at, score the explanations, and gate saliency quality in CI."""


def run() -> None:
    """The console script: run and exit."""
    keep_freed_memory()
    sleep_while_waiting()
    set_up_streams()
    ended = witnessed(sys.argv[1:], after_a_stop())
    try:
        code = main()
    except Terminated:
        code = 128 + signal.SIGTERM
    finally:
        ignore_signals()
        close_results()
    ended(code)
    sys.exit(code)


def ignore_signals() -> None:
    """Let nothing disturb the end: the work is done, and the interpreter takes a second to clear up."""
    for number in (signal.SIGINT, signal.SIGTERM, *([signal.SIGALRM] if hasattr(signal, "SIGALRM") else [])):
        signal.signal(number, signal.SIG_IGN)
    if hasattr(signal, "setitimer"):
        signal.setitimer(signal.ITIMER_REAL, 0)


def main(args: list[str] | None = None) -> int:
    """Run one command line and return its exit code; every error is one line on stderr."""
    if args is None and hasattr(signal, "SIGTERM"):
        signal.signal(signal.SIGTERM, terminate)
        # A shell that starts the command in the background has interrupts ignored; that stays so.
        if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
            signal.signal(signal.SIGINT, interrupt)
        sys.unraisablehook = insist_soon
    # Libraries warn of damaged photos; we report them once, in our own words.
    warnings.filterwarnings("ignore", module="PIL|pydicom|tifffile")
    for library in ("PIL", "pydicom", "tifffile"):
        logging.getLogger(library).addHandler(logging.NullHandler())
    logging.getLogger("xaicli").addHandler(SHOWN)
    with apart():
        return run_line(args)


def run_line(args: list[str] | None) -> int:
    try:
        from xaicli.cli.defaults import default_map, exported

        with exported():
            code = cli.main(args=args, prog_name="xai", standalone_mode=False, default_map=default_map())
        flush()
        return code if isinstance(code, int) else 0
    except click.exceptions.Exit as exit_request:
        return exit_request.exit_code
    except click.ClickException as error:
        return say(usage_line(error, verb_of(args)), 2, error)
    except ReaderGone as error:
        return error.exit_code
    except click.Abort as error:
        return say(f"interrupted; {after_a_stop(args)}", 130, error)
    except BaseException as error:
        stop = stop_behind(error)
        if isinstance(stop, Terminated):
            raise stop from None
        if stop is not None:
            return say(f"interrupted; {after_a_stop(args)}", 130, error)
        if isinstance(error, SystemExit) and COMPLETING in os.environ:
            # So click ends a completion; foreign code that ends the program is contained where it runs.
            flush()
            return error.code if isinstance(error.code, int) else 0
        if isinstance(error, XaiError):
            return say(error.line(), error.exit_code, error)
        # Anything else has its own exit code, since 1 belongs to the gate.
        if pair := broken_pair(error):
            return say(pair.line(), pair.exit_code, error)
        if is_out_of_memory(error):
            return say(f"ran out of memory. {LESS_MEMORY}", 5, error)
        return fault(error)


def fault(error: BaseException) -> int:
    return say(f"a fault in xai itself: {described(error)}. --debug shows the traceback", 5, error)


class LoggedWarnings(logging.Handler):
    """Shows logged warnings in the form of the command's own warnings."""

    def emit(self, record: logging.LogRecord) -> None:
        Verbosity.current().warn(record.getMessage())


SHOWN = LoggedWarnings(logging.WARNING)


def flush() -> None:
    """Flush stdout now, so that a closed pipe or a full disk is noticed while it can be reported."""
    sys.stdout.flush()


def say(line: str, code: int, error: BaseException) -> int:
    if Verbosity.debug_wanted():
        traceback.print_exception(error)
    click.secho("error: ", fg="red", bold=True, nl=False, err=True)
    click.echo(" ".join(line.split()), err=True)
    return code


def interrupt(number: int, frame: FrameType | None) -> None:
    """End the run at Ctrl-C."""
    insist(interrupt)
    raise KeyboardInterrupt


def terminate(number: int, frame: FrameType | None) -> None:
    """End the run at SIGTERM, and say so once: `timeout` sends it to a process and to its group."""
    if number == signal.SIGTERM and not (hasattr(signal, "SIGALRM") and signal.getsignal(signal.SIGALRM) is terminate):
        click.echo(f"error: terminated; {after_a_stop()}", err=True)
        insist(terminate)
    raise Terminated(128 + signal.SIGTERM)


def after_a_stop(words: Sequence[str] | None = None) -> str:
    """What became of the results of a command that was stopped; words: its command line, by default this process's."""
    words, verb = sys.argv[1:] if words is None else words, verb_of(words)
    # Scores that go to stdout alone are kept nowhere.
    kept = verb != "score" or any(re.match(r"-o|--(output|sink)(=|$)", word) for word in words)
    if verb and COMMANDS[verb].goes_on and kept:
        return "what was finished is kept, and the same command goes on from there"
    return "nothing is half-written, and the same command starts from the beginning"


def verb_of(words: Sequence[str] | None = None) -> str:
    """The command in a command line, by default in this process's; empty if there is none."""
    return next((word for word in (sys.argv[1:] if words is None else words) if word in COMMANDS), "")


def insist(handler: Callable[[int, FrameType | None], None]) -> None:
    """Raise the handler's exception again and again until the program ends, in case foreign code swallows it."""
    if hasattr(signal, "setitimer"):
        signal.signal(signal.SIGALRM, handler)
        signal.setitimer(signal.ITIMER_REAL, PATIENCE, PATIENCE)


def insist_soon(dropped: sys.UnraisableHookArgs) -> None:
    """Raise the exception of a stop again where Python could only report it, in the callback of a weak reference, say; and report
    nothing that goes wrong while a stop clears up."""
    if issubclass(dropped.exc_type, KeyboardInterrupt | Terminated):
        if hasattr(signal, "setitimer"):
            signal.setitimer(signal.ITIMER_REAL, SOON, PATIENCE)
    elif not hasattr(signal, "SIGALRM") or signal.getsignal(signal.SIGALRM) not in (interrupt, terminate, signal.SIG_IGN):
        sys.__unraisablehook__(dropped)


if __name__ == "__main__":
    run()
