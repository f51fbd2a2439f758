"""docs/performance.md is what the stored results make of it; a missed bar says so."""

from docs import performance


def figure(what, median, least=None, limit=None, **further):
    return {"what": what, "unit": "times", "median": median, "least": least, "limit": limit, "values": [median], **further}


def test_a_bar_is_met_or_missed_with_what_is_said_of_it():
    stored = {
        "peers-a": {"figures": [figure("job: peer", 2.0, least=1.5), figure("other: peer", 1.0, least=1.5), figure("no bar", 1)]}
    }
    lines = performance.bars(stored, {"other": "missed: it is slow"})
    assert lines[-2:] == [
        "| job: peer | 2 times | at least 1.5 | met |",
        "| other: peer | 1 times | at least 1.5 | missed: it is slow |",
    ]


def test_the_page_is_what_is_stored():
    assert performance.PAGE.read_text("utf-8") == performance.page(), "run python -m docs.performance"
