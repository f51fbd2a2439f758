"""The picture of a certificate shows what was planted, and the maps of the network that it was planted in."""

from __future__ import annotations

import numpy as np

from xaicli.progress import SILENT
from xaicli.registry import make_method
from xaicli.results.store import Store
from xaicli.runs.find_photos import find_photos
from xaicli.runs.photos import load_ahead
from xaicli.runs.planted_photos import on_exact
from xaicli.runs.settings import Settings
from xaicli.runs.trust_checks import ALARM, FOUND, Plan, photos_at_size, plan_checks
from xaicli.runs.trust_pictures import maps_of, picture_of, row_of
from xaicli.runs.trust_scores import measured


def plan_and_checks(colours, grey_photos, *checks):
    photos = photos_at_size(list(load_ahead(find_photos(grey_photos).sources, colours.view, picture=False)), colours)
    plan = Plan(on_exact(colours), (make_method("hirescam"),), Settings(seed=0, precision="fp32"), 1)
    return plan, plan_checks(plan, photos, checks)[0]


def test_maps_are_those_of_the_network_in_which_the_patch_decides(colours, grey_photos):
    plan, planned = plan_and_checks(colours, grey_photos, "patch", "absence")
    with Store.in_memory() as store:
        measured(plan, planned, store, SILENT)
        found = {name: part for part in planned for name in part.measures.values()}
        maps = {}
        for name in (FOUND, ALARM):
            [kept] = maps_of(found[name], found[name].shown, store)[1]
            maps[name] = np.asarray(kept.values)
        [row] = row_of(FOUND, "a patch that decides", planned, ["hirescam"], store)
    shown = found[FOUND].shown
    row_at, column_at = np.unravel_index(maps[FOUND].argmax(), maps[FOUND].shape)
    assert shown.mask[row_at, column_at]
    assert maps[ALARM].max() < maps[FOUND].max()
    assert list(row.cells) == ["hirescam"]
    assert np.asarray(row.photo).shape == shown.pixels.shape
    assert (np.asarray(row.photo) == shown.pixels).all()


def test_there_is_no_picture_where_nothing_is_known_to_be_true(colours, grey_photos):
    _, planned = plan_and_checks(colours, grey_photos, "fidelity")
    with Store.in_memory() as store:
        assert picture_of(planned, [], store) is None
