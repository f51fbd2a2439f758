"""The report in a real browser: it sorts, filters, opens and closes, and what it shows never runs."""

from __future__ import annotations

import hashlib
import io
import os
import shutil

import numpy as np
import pytest
from PIL import Image

from xaicli.results.report.page import write_report
from xaicli.results.store import Store
from xaicli.rows import Curve, KeptMap

CHROMIUM = os.environ.get("XAI_CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
REQUIRED = bool(os.environ.get("XAI_REQUIRE_BROWSER"))
ARGUMENTS = (
    *("--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update"),
)
HOSTILE = "<img src=x onerror=alert(1)>.jpg"
PHONE = {"viewport": {"width": 360, "height": 740}, "is_mobile": True, "has_touch": True}

if not REQUIRED:
    pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
pytestmark = pytest.mark.skipif(not CHROMIUM and not REQUIRED, reason="no chromium; install it, or set XAI_CHROMIUM to its path")


@pytest.fixture(scope="module")
def browser():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=list(ARGUMENTS))
        yield started
        started.close()


@pytest.fixture
def visit(browser):
    """Open a page; afterwards nothing may have been said on the console, asked of the network or shown as an alert."""
    contexts, said = [], []

    def open_page(path, **how):
        context = browser.new_context(**how)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: said.append(f"console {message.type}: {message.text}"))
        page.on("pageerror", lambda error: said.append(f"error: {error}"))
        page.on("dialog", lambda dialog: said.append(f"alert: {dialog.message}") or dialog.dismiss())
        page.on("request", lambda request: said.append(f"request: {request.url}") if request.url.startswith("http") else None)
        page.goto(path.as_uri())
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert said == []


def tiny_jpeg(seed: int) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (4, 6, 3), dtype=np.uint8)).resize((48, 32)).save(buffer, "JPEG")
    return buffer.getvalue()


def make_report(folder, recipe_of, row_of, names, values):
    """Two methods and a control under insertion; the values of the methods by photo."""
    recipes = [recipe_of(name, "insertion", direction="higher", control=name == "center") for name in ("rise", "lime", "center")]
    with Store.open(folder / "scores.db") as store:
        for seed, (name, pair) in enumerate(zip(names, values, strict=True)):
            content = tiny_jpeg(seed)
            (folder / name).write_bytes(content)
            given = {"photo": hashlib.sha256(content).hexdigest(), "target_name": "tabby" if seed % 2 else "beagle"}
            curve = Curve((0.0, 0.5, 1.0), (0.1, 0.4, 0.9))
            scores = zip(recipes, (*pair, 0.4), strict=True)
            rows = [row_of(recipe, name, value, curve=curve, **given) for recipe, value in scores]
            maps = [
                KeptMap(rows[0].subject, recipe.method_definition, recipe.method, 0, np.eye(7) - 0.5 * signed, signed=signed)
                for recipe, signed in zip(recipes[:2], (False, True), strict=True)
            ]
            store.add(rows, recipes, maps=maps)
        write_report(store, folder / "report.html")
    return folder / "report.html"


@pytest.fixture
def report(tmp_path, recipe_of, row_of):
    names = ["a.jpg", "b.jpg", HOSTILE, "d.jpg", "e.jpg"]
    return make_report(tmp_path, recipe_of, row_of, names, [(0.5, 0.6), (0.1, 0.3), (0.9, 0.8), (0.3, 0.7), (None, 0.15)])


def names_shown(page):
    page.locator("#gallery").scroll_into_view_if_needed()
    cards = page.locator(".card")
    for number in range(cards.count()):
        cards.nth(number).scroll_into_view_if_needed()
        cards.nth(number).locator(".open").wait_for()
    return page.locator(".card .open").all_inner_texts()


def wait_for_cards(page, count):
    from playwright.sync_api import expect

    expect(page.locator(".card")).to_have_count(count)


def test_the_table_sorts_by_every_column_both_ways(visit, report):
    page = visit(report)
    heading = page.locator("table.scores thead th").nth(1)

    def methods():
        return [text.split()[0] for text in page.locator("table.scores tbody th").all_inner_texts()]

    heading.locator("button").click()
    assert heading.get_attribute("aria-sort") == "ascending"
    assert methods() == ["center", "rise", "lime"]
    heading.locator("button").click()
    assert heading.get_attribute("aria-sort") == "descending"
    assert methods() == ["lime", "rise", "center"]
    page.locator("table.scores thead button").first.click()
    assert heading.get_attribute("aria-sort") == "none"
    assert methods() == ["center", "lime", "rise"]


def test_the_worst_come_first_and_the_order_changes(visit, report):
    page = visit(report)
    worst = ["e.jpg", "b.jpg", "d.jpg", "a.jpg", HOSTILE]
    assert names_shown(page) == worst
    page.select_option("#order", "best")
    assert names_shown(page) == worst[::-1]
    page.select_option("#order", "name")
    assert names_shown(page) == [HOSTILE, "a.jpg", "b.jpg", "d.jpg", "e.jpg"]
    page.select_option("#order", "worst")
    page.select_option("#method", label="rise")
    assert names_shown(page) == ["e.jpg", "b.jpg", "d.jpg", "a.jpg", HOSTILE]
    page.select_option("#order", "spread")
    page.select_option("#method", label="all methods")
    assert names_shown(page)[0] == "d.jpg"


@pytest.mark.parametrize(
    ("typed", "expected"),
    [("tabby", ["b.jpg", "d.jpg"]), ("beagle a.jpg", ["a.jpg"]), ("constant", ["e.jpg"]), ("onerror", [HOSTILE]), ("zebra", [])],
)
def test_the_filter_finds_names_classes_and_statuses(visit, report, typed, expected):
    page = visit(report)
    page.fill("#filter", typed)
    wait_for_cards(page, len(expected))
    assert names_shown(page) == expected
    assert page.inner_text("#count") == f"{len(expected)} of 5 shown"
    page.fill("#filter", "")
    wait_for_cards(page, 5)


def test_a_hostile_name_stays_text_in_cards_and_detail(visit, report):
    page = visit(report)
    page.fill("#filter", "onerror")
    wait_for_cards(page, 1)
    page.locator(".card .open").click()
    assert HOSTILE in page.inner_text("#detail-title")
    assert page.locator("img[src='x']").count() == 0
    assert page.evaluate("[...document.images].every(image => image.src.startsWith('data:image/jpeg;base64,'))")


def test_a_card_shows_the_photo_a_map_for_each_method_and_the_scores(visit, report):
    page = visit(report)
    page.fill("#filter", "a.jpg")
    wait_for_cards(page, 1)
    card = page.locator(".card")
    card.scroll_into_view_if_needed()
    assert card.locator("img").count() == 3
    assert card.locator("canvas").count() == 2
    assert card.locator("figcaption").all_inner_texts() == ["photo", "lime 0.600", "rise 0.500"]
    assert page.evaluate("[...document.querySelectorAll('.card img')].every(image => image.complete && image.naturalWidth > 0)")
    corner, middle = page.evaluate(
        """() => {
            const canvas = document.querySelectorAll('.card canvas')[1];
            const row = canvas.getContext('2d').getImageData(0, 56, 112, 1).data;
            return [row[4 * 1 + 3], row[4 * 56 + 3]];
        }"""
    )
    # The map of `rise` is the identity matrix: clear at the edge of the middle row, and drawn pixel 56 is 1/32 of a cell past the
    # centre of cell 3, along and down.
    value = (31 / 32) ** 2 + (1 / 32) ** 2
    assert (corner, middle) == (0, pytest.approx(0.75 * 255 * value**0.7, abs=1))


def test_the_detail_is_reached_read_and_left_by_keyboard(visit, report):
    page = visit(report)
    page.locator("#order").focus()
    page.keyboard.press("Tab")
    page.wait_for_selector(".card .open")
    assert page.evaluate("document.activeElement.textContent") == "e.jpg"
    page.keyboard.press("Enter")
    assert page.locator("#detail").is_visible()
    assert "constant" in page.inner_text("#detail-body")
    assert page.locator("#detail .chart svg").count() == 1
    assert page.locator("#previous").is_disabled()
    page.keyboard.press("ArrowRight")
    assert page.inner_text("#detail-title").startswith("b.jpg")
    page.keyboard.press("Escape")
    assert not page.locator("#detail").is_visible()


def test_lines_of_the_chart_are_hidden_and_shown(visit, report):
    page = visit(report)
    lines = page.locator("#charts polyline")
    assert lines.count() == 3
    button = page.locator("#legend button", has_text="rise")
    button.click()
    assert button.get_attribute("aria-pressed") == "false"
    assert lines.count() == 2
    button.click()
    assert lines.count() == 3


def test_six_lines_are_shown_at_first_methods_before_controls_and_the_rest_on_demand(visit, tmp_path, recipe_of, row_of):
    methods, controls = [f"method-{number}" for number in range(5)], ["random", "center", "other@base=method-0"]
    recipes = [recipe_of(name, "insertion", direction="higher", control=name in controls) for name in (*methods, *controls)]
    with Store.open(tmp_path / "scores.db") as store:
        for image in ("a.jpg", "b.jpg"):
            curve = Curve((0.0, 1.0), (0.1, 0.3))
            store.add([row_of(recipe, image, 0.2, curve=curve, photo=image) for recipe in recipes], recipes)
        write_report(store, tmp_path / "report.html")
    page = visit(tmp_path / "report.html")
    assert page.locator("#charts polyline").count() == 6
    assert page.locator("#legend button").count() == 7
    assert "other@base" not in page.inner_text("#legend")
    page.locator("#legend .more").click()
    assert page.locator("#legend button").count() == 8
    page.locator("#legend button", has_text="other@base").click()
    assert page.locator("#charts polyline").count() == 7


def test_curves_come_before_what_may_be_concluded_and_fill_their_chart(visit, report):
    page = visit(report)
    tops = [
        page.locator(f"h2:text-is('{title}')").bounding_box()["y"] for title in ("Summary", "Curves", "What may be concluded")
    ]
    assert tops == sorted(tops)
    labels = [float(text) for text in page.locator("#charts svg text").all_text_contents() if text.replace(".", "").isdigit()]
    assert max(labels) == 1.0


def test_on_a_phone_every_number_of_the_table_is_in_sight(visit, report):
    page = visit(report, **PHONE)
    for cell in page.locator("table.scores td").all():
        box = cell.bounding_box()
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= 360
    assert (
        page.locator("table.scores td")
        .first.evaluate("cell => getComputedStyle(cell, '::before').content")
        .startswith('"insertion')
    )


def test_the_page_is_called_by_what_was_compared_and_every_picture_says_what_it_shows(visit, report):
    page = visit(report)
    assert "lime" in page.title()
    assert "rise" in page.inner_text("h1")
    page.fill("#filter", "a.jpg")
    wait_for_cards(page, 1)
    page.locator(".card img").first.wait_for()
    alts = page.evaluate("[...document.querySelectorAll('.card img')].map(image => image.alt)")
    assert alts[0] == "a.jpg"
    assert alts[1].startswith("a.jpg, what lime marks for beagle")


@pytest.mark.parametrize("how", [PHONE, {"viewport": {"width": 1280, "height": 800}}])
def test_the_page_never_scrolls_sideways(visit, report, how):
    page = visit(report, **how)
    names_shown(page)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    page.locator(".card .open").first.click()
    assert page.evaluate("document.querySelector('#detail').scrollWidth <= document.querySelector('#detail').clientWidth")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_in_light_and_dark(visit, report, scheme):
    page = visit(report, color_scheme=scheme)
    pairs = page.evaluate(
        """() => {
            const style = getComputedStyle(document.documentElement);
            const of = (name) => style.getPropertyValue(name).trim();
            const names = ['--soft', '--ink', '--accent', ...Array.from({length: 8}, (_, at) => `--m${at}`)];
            return names.map((name) => [of(name), of('--card')]);
        }"""
    )

    def luminance(colour):
        parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    for text, ground in pairs:
        lighter, darker = sorted((luminance(text), luminance(ground)), reverse=True)
        assert (lighter + 0.05) / (darker + 0.05) >= 4.5, (text, ground)


def test_every_control_has_a_name(visit, report):
    page = visit(report)
    names_shown(page)
    nameless = page.evaluate(
        """() => [...document.querySelectorAll('button, input, select')].filter((control) =>
            !(control.textContent.trim() || control.getAttribute('aria-label') || control.labels?.length)).length"""
    )
    assert nameless == 0
    assert page.evaluate("document.documentElement.lang") == "en"


@pytest.mark.slow
def test_five_thousand_photos_load_and_fill_as_they_scroll_into_view(visit, tmp_path, recipe_of, row_of):
    values = np.random.default_rng(0).random((5000, 2)).tolist()
    path = make_report(tmp_path, recipe_of, row_of, [f"{number:04}.jpg" for number in range(5000)], values)
    assert path.stat().st_size < 40e6
    page = visit(path)
    assert page.inner_text("#count") == "5,000 shown"
    assert page.locator(".card").count() == 5000
    assert page.locator(".card img").count() < 300
    last = page.locator(".card").last
    last.scroll_into_view_if_needed()
    last.locator("img").first.wait_for()
    assert page.locator(".card img").count() < 300
    page.fill("#filter", "0042")
    wait_for_cards(page, 1)
    assert page.locator(".card .open").inner_text() == "0042.jpg"
