"""The type variables of what authors hold: steps, workflows, runs and their results.

Each has a default, so that a bare `Step` or `Workflow` in an annotation means one of any types, under mypy --strict too.
"""

from __future__ import annotations

from typing import Any

from typing_extensions import ParamSpec, TypeVar

P = ParamSpec("P", default=...)  # the parameters of a step, without its context
R = TypeVar("R", default=Any)  # what it returns
In = TypeVar("In", default=Any)  # the input of a workflow
Out = TypeVar("Out", default=Any)  # its result
Flow = TypeVar("Flow", covariant=True, default=Any)  # what flows out of the last node so far
