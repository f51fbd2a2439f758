"""Record what the package computes, so that `test_unchanged_results.py` can hold a rearranged house to it.

    python tests/contract/record_results.py                   # record all again
    python tests/contract/record_results.py --only lrp        # what is a result of this method or metric, wherever it stands
    python tests/contract/record_results.py --only other      # the control that borrows another photo's map
    python tests/contract/record_results.py --digest          # write nothing: a line "section: key sha256" for every result

Recording again is right only where the version of a definition was raised, a method or metric is new, or the package ships
another head of a trained method; then with `--only`, and once more for a method that wraps the changed one by default (`ucag`
wraps `grad-cam`). Other lines of the files stay as they are. It takes the environment of the tree that it stands in.

`--digest` is for two trees on one machine: where both print the same lines (`diff`), every stamp, every word and every byte of
maps and scores is the same, and so is every byte of what commands write (`files_now.py`). Between machines bytes differ, since
processors round otherwise.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

import torch

sys.path[:0] = [str(Path(__file__).resolve().parents[1])]

from contract import results_book  # noqa: E402
from contract.files_now import files_now  # noqa: E402
from contract.results_asked import SHEETS, maps_asked  # noqa: E402
from contract.results_book import DEFINITIONS, MAPS, OTHER, SCORES, SECTIONS, Book, Section, names_of  # noqa: E402
from contract.results_now import definition, maps_of, scores_of  # noqa: E402

from xaicli.builtin import METHODS, METRICS  # noqa: E402


def made_now(only: str | None = None) -> Book:
    """All results, or those of one definition."""
    book: Book = {DEFINITIONS: {name: definition(name) for name in (*METHODS, *METRICS)}}
    book[MAPS] = maps_of(one for name in METHODS for one in maps_asked(name) if only is None or only in names_of(one.key))
    book[SCORES], book[OTHER] = scores_of(SHEETS)
    return {name: section_of(section, only) for name, section in book.items()}


def section_of(section: Section, only: str | None) -> Section:
    return {key: entry for key, entry in section.items() if only is None or only in names_of(key)}


def record(only: str | None) -> str:
    """Write what is made now; with `only`, in place of what was recorded of that definition. Returns what was done, in words."""
    now = made_now(only)
    count = sum(map(len, now.values()))
    if only is not None:
        if not count:
            return f"nothing is recorded of {only}"
        kept = results_book.read_book()
        now = {name: {**without(kept[name], only), **now[name]} for name in SECTIONS}
    results_book.write_book(now)
    return f"{count} results recorded in {results_book.TEXT.name} and {results_book.ARRAYS.name}"


def without(section: Section, only: str) -> Section:
    return {key: entry for key, entry in section.items() if only not in names_of(key)}


def digests(only: str | None) -> Iterator[str]:
    """A line for each result, and for each file that commands write."""
    for name, section in made_now(only).items():
        yield from (f"{name}: {key} {entry.digest}" for key, entry in sorted(section.items()))
    if only is None:
        yield from (f"files: {name} {digest}" for name, digest in files_now().items())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", metavar="NAME", help="a method, a metric, or `other`")
    parser.add_argument("--digest", action="store_true", help="print hashes and write nothing")
    given = parser.parse_args()
    torch.set_num_threads(1)
    for line in digests(given.only) if given.digest else [record(given.only)]:
        print(line)


if __name__ == "__main__":
    main()
