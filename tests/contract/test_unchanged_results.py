"""A house that is rearranged computes what it did: every stamp, status and target, every map and every score is the recorded one.

Recorded on the tree of commit 296d822 (xaicli 0.1.0), before rooms were moved, by `python tests/contract/record_results.py`, and
compared with the tree after the move: every value was the same. Then recorded again for what changed on purpose: subjects, since
fingerprints cover what a network computes; `lrp`, `deeplift` and the control `other`, whose versions were raised; new parameters;
maps and scores of `t-tame`, `p-tame`, `tame` and `l-cam`, which count the checkpoint that `auto` finds. Record again only where
the version of a definition is raised: `--only NAME`.

Stamps and words must be equal, numbers within 1e-5 of their range (`results_book.py`). Everything goes through outer interfaces.
"""

from __future__ import annotations

import functools

import pytest
from contract.results_asked import SHEETS, maps_asked
from contract.results_book import DEFINITIONS, MAPS, OTHER, SCORES, Section, differences, metric_of, names_of, read_book
from contract.results_now import definition, maps_of, scores_of

from xaicli import builtin

BOOK = read_book()


@functools.cache
def scores_now(sheet: str) -> tuple[Section, Section]:
    return scores_of([sheet])


def of_sheet(section: Section, sheet: str) -> Section:
    return {key: entry for key, entry in section.items() if key.split()[0] == sheet}


def assert_unchanged(recorded: Section, now: Section) -> None:
    """Fail, naming what differs, the first twenty facts of it."""
    assert recorded, "nothing is recorded of it: python tests/contract/record_results.py --only NAME"
    if found := differences(recorded, now):
        pytest.fail("\n".join([f"{len(found)} facts are not what they were:", *found[:20]]), pytrace=False)


def test_every_built_in_definition_is_recorded_and_has_maps_or_scores():
    assert {*builtin.METHODS, *builtin.METRICS} == set(BOOK[DEFINITIONS])
    assert {name for key in BOOK[MAPS] for name in names_of(key)} >= set(builtin.METHODS)
    assert {metric_of(key) for key in BOOK[SCORES]} == set(builtin.METRICS)


@pytest.mark.parametrize("name", BOOK[DEFINITIONS])
def test_a_definition_is_described_as_it_was(name: str):
    assert_unchanged({name: BOOK[DEFINITIONS][name]}, {name: definition(name)})


@pytest.mark.parametrize("name", builtin.METHODS)
def test_maps_are_what_they_were(name: str):
    recorded = {key: entry for key, entry in BOOK[MAPS].items() if key.split()[1].partition("@")[0] == name}
    assert_unchanged(recorded, maps_of(maps_asked(name)))


@pytest.mark.parametrize("sheet", SHEETS)
def test_scores_are_what_they_were(sheet: str):
    assert_unchanged(of_sheet(BOOK[SCORES], sheet), scores_now(sheet)[0])


@pytest.mark.parametrize("sheet", [name for name, sheet in SHEETS.items() if "--no-controls" not in sheet.words])
def test_scores_of_the_control_other_are_what_they_were(sheet: str):
    assert_unchanged(of_sheet(BOOK[OTHER], sheet), scores_now(sheet)[1])
