"""What tests of the runtime share."""

from __future__ import annotations

import pytest
from support.apps import Journal


@pytest.fixture
def journal() -> Journal:
    return Journal()
