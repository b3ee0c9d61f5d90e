"""Which guests there are to be tested."""

from __future__ import annotations

import pytest

from cloche_guest import find_guest


def needs_python() -> None:
    """The Python guest is tested where it is built."""
    if find_guest("python") is None:
        pytest.skip("the Python guest is not built: make guest-python")
