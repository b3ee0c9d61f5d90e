"""A module that needs what is not written in Python."""

from __future__ import annotations

import pydantic_core._pydantic_core as core

VERSION = core.__version__
