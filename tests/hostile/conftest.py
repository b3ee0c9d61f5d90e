"""Every attack is made on each way that cells can live."""

from __future__ import annotations

import pytest
from hostile.platform import ENGINES, Mode


@pytest.fixture(params=ENGINES)
def mode(request: pytest.FixtureRequest) -> Mode:
    chosen: Mode = request.param
    return chosen
