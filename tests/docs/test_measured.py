"""The tables of docs/ci.md and docs/trust.md say what was measured, and it is what the pages claim."""

import json

import pytest

from docs import measured

EXAMPLE = {
    "figures": [
        {"what": f"net; {kind}; {what}; {measure}", "values": values}
        for kind, what, found in (("fault", "swapped", [1.0]), ("fault", "unseen", [0.0]), ("faithful", "ONNX", [0.0, 1.0]))
        for measure, values in {
            "found": found,
            "decision moved": [1.0] * len(found),
            "looks elsewhere": [float(at) for at in range(len(found))],
            "probability": [-0.125] * len(found),
            "correlation": [0.5] * len(found),
        }.items()
    ]
    + [{"what": "false alarms at faithful exports", "values": [0.5]}]
}


def test_a_table_says_what_was_found_what_was_missed_and_how_often_it_alarmed():
    lines = measured.parity_table(EXAMPLE).splitlines()
    assert "| net | swapped | found | 1 | 0 | -0.125 | 0.500 |" in lines
    assert "| net | unseen | **missed** | 1 | 0 | -0.125 | 0.500 |" in lines
    assert "| net | ONNX | 1 of 2 alarms | 1 | 0 to 1 | -0.125 | 0.500 |" in lines
    assert lines[-1].endswith("50 % of runs.")


def test_what_stands_between_marks_is_replaced_and_nothing_else():
    assert measured.between("a<1>old<2>b", ("<1>", "<2>"), "new") == "a<1>\nnew\n<2>b"
    with pytest.raises(AssertionError, match="no mark"):
        measured.between("a", ("<1>", "<2>"), "new")


def test_both_pages_are_what_the_stored_results_make_of_them():
    for path, text in measured.pages().items():
        assert path.read_text("utf-8") == text, f"run python -m docs.measured: {path.name}"


@pytest.mark.skipif(not measured.PARITY.is_file(), reason="nothing was measured")
def test_every_fault_was_found_and_faithful_exports_alarm_seldom():
    stored = json.loads(measured.PARITY.read_text("utf-8"))["figures"]
    faults = [figure for figure in stored if "; fault; " in figure["what"] and figure["what"].endswith("; found")]
    assert len(faults) >= 5
    assert all(figure["values"] == [1.0] for figure in faults)
    assert stored[-1]["values"][0] <= 0.05
