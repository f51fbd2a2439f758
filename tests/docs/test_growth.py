"""The tables and pictures of growth show what was measured."""

from docs.growth import draw, growth_of, section


def side(tool, seconds, memory):
    return {"tool": tool, "row": "default", "processor": [seconds, seconds + 2], "memory": memory}


def figure(axis, at, ours, theirs):
    return {"what": "job", "detail": {"axis": axis, "at": at, "ours": side("xai", *ours), "theirs": side("peer 1.0", *theirs)}}


STORED = {"growth-masks": {"figures": [figure("masks", 128, (3, 20), (9, None)), figure("masks", 64, (1, 10), (5, 30))]}}


def test_points_are_in_order_with_the_median_of_processor_seconds_and_memory():
    lines = section(growth_of(STORED))
    assert lines[-4:] == [
        "| masks | xai, s | MiB | peer 1.0, s | MiB |",
        "|---|---|---|---|---|",
        "| 64 | 2 | 10 | 6 | 30 |",
        "| 128 | 4 | 20 | 10 |  |",
    ]


def test_nothing_is_said_where_no_growth_was_measured():
    assert section(growth_of({"peers": {"figures": [{"what": "a"}, {"what": "b", "detail": {"job": {}}}]}})) == []


def test_a_picture_shows_each_tool_and_is_the_same_each_time(tmp_path):
    for name in ("a.svg", "b.svg"):
        draw(growth_of(STORED), tmp_path / name)
    assert (tmp_path / "a.svg").read_text() == (tmp_path / "b.svg").read_text()
    assert "peer 1.0" in (tmp_path / "a.svg").read_text()
