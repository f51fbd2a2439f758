"""docs/methods.md marks the methods that refuse a bundled network."""

import json

from docs import refused


def test_the_stored_refusals_are_those_of_the_methods_now():
    assert json.loads(refused.STORED.read_text("utf-8")) == refused.found()
