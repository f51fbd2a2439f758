"""The page on clusters shows what its simulation makes of what was measured."""

import pytest

pytest.importorskip("ray")

from docs import scale


def test_the_page_is_what_the_measured_figures_make_of_it():
    text = (scale.HERE / "scale.md").read_text("utf-8")
    assert text == scale.page(text, scale.Measured.read())


def test_one_actor_takes_the_sum_of_its_photos_and_a_driver_that_costs_nothing_adds_nothing():
    end, share = scale.simulated(1, 0.0, (2.0,), photos=100)
    assert end == pytest.approx(scale.START + 200)
    assert share == 0


def test_actors_share_the_work_until_the_driver_is_the_limit():
    photos = 64 * scale.LARGEST_BLOCK
    alone, _ = scale.simulated(1, 1e-6, (1.0,), photos)
    eight, _ = scale.simulated(8, 1e-6, (1.0,), photos)
    assert (eight - scale.START) * 8 == pytest.approx(alone - scale.START, rel=0.01)
    end, share = scale.simulated(64, 1.0, (1.0,), photos)
    assert end >= photos
    assert share > 0.9
