"""The tables of docs/training.md and docs/imagenet.md are those of the stored results, computed as they say."""

from __future__ import annotations

from docs import training_tables
from docs.training_tables import parts_of, processes_table, recipes_tables


def test_hours_are_operations_over_the_published_rate():
    # A step as costly as an ordinary one of ResNet-50: 1,281,167 photos at 2,470 a second are 0.144 hours an epoch.
    one = {"method": "t-tame", "network": "ResNet-50", "epochs": 100, "batch": 32, "flop": 24e9}
    made = recipes_tables({"ordinary": 24e9, "recipes": [one]})
    assert "| `t-tame` | ResNet-50 | 100 | 32 | 24.0 | 14.4 |" in made.splitlines()


def test_a_run_is_shown_as_means_of_its_parts():
    trace = [{"epoch": at / 10, "lr": 0.1, "ce": float(at), "loss": 2.0 * at} for at in range(10)]
    assert [part["ce"] for part in parts_of(trace, 2)] == [2.0, 7.0]
    run = {"method": "t-tame", "model": "vgg16", "steps": 40, "batch": 8, "lr": 0.01, "precision": "bf16", "rate": 4.25}
    made = recipes_tables({"ordinary": 1.0, "recipes": [], "runs": [{**run, "trace": trace}]}).splitlines()
    assert "| method | network | precision | photos a step | photos a second | 8 | 16 | 24 | 32 | 40 |" in made
    assert "| `t-tame` | `vgg16` | bf16 | 8 | 4.2 | 1.00 | 5.00 | 9.00 | 13.00 | 17.00 |" in made


def test_each_training_has_a_line_for_each_way():
    figures = {"loss": 1.0, "held loss": 2.0, "share": 0.5, "weights": 0.0, "largest": 0.0}
    row = {
        "method": "l-cam",
        "what": "nothing",
        "ways": {"one process": figures, "two processes": {**figures, "weights": 0.0123}},
    }
    stored = {"model": "tiny", "photos": 8, "batch": 4, "held": 2, "torch": "2", "rows": [row]}
    lines = processes_table(stored).splitlines()
    assert "| `l-cam` | nothing | one process | 1.0000 | 2.0000 | 50.0 | 0 | 0 |" in lines
    assert "|  |  | two processes | 1.0000 | 2.0000 | 50.0 | 0.012 | 0 |" in lines


def test_the_pages_are_what_the_stored_results_make_of_them():
    for path, text in training_tables.pages().items():
        assert path.read_text("utf-8") == text, f"run python -m docs.training_tables: {path.name}"
