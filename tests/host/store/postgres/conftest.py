"""What tests of this store share: a server that nobody breaks. Without PostgreSQL on the machine they are skipped."""

from __future__ import annotations

import pytest
from support.postgres import Server, require, shared_server


@pytest.fixture
def server() -> Server:
    require()
    return shared_server()
