"""Steps that the tests of the builder share."""

from __future__ import annotations

from typing import Any

from cloche_codegen import Step, create_step


def free(id: str, takes: Any = None, gives: Any = None) -> Step:
    """A step that returns its input; without schemas anything may flow."""
    return create_step(id=id, execute=lambda data: data, input_schema=takes, output_schema=gives)
