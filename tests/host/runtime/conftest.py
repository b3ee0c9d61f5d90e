"""Each case of a workflow is lived three ways: straight, from its stored graph, and with the power cut at every commit."""

from __future__ import annotations

import pytest
from support.apps import WAYS, Journal, Lived


@pytest.fixture(params=WAYS, ids=lambda way: way.__name__.replace("_", " "))
def lived(request: pytest.FixtureRequest) -> Lived:
    way: Lived = request.param
    return way


@pytest.fixture
def journal() -> Journal:
    return Journal()
