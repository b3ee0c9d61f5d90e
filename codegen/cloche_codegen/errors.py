"""What can be wrong with a workflow before it runs.

    GraphError            the author: something about the workflow, its steps or its stored graph is wrong
      UnknownReference    a name that is not there was asked for (a step of `load_workflow`, a field of `refs`)
      NotCommitted        a workflow was used before `commit()`

A graph is checked as a whole: one error carries every problem found, each with the place it was found at. A place is
written `workflow/node` or `workflow/block/arm`; ids cannot contain a slash, so it is never ambiguous.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Self

PROBLEMS_MAX: Final = 20  # that are told of one graph: nobody mends more at once, and a hostile one has 100,000


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong: a stable `code` for programs, where it is, and what happened and what to do."""

    code: str
    path: str
    message: str

    def __str__(self) -> str:
        return f"{self.path}: {self.message} [{self.code}]"


class GraphError(Exception):
    """A workflow that cannot be built, stored or loaded as it is.

    Attributes:
        problems: every problem, in the order of the graph; at least one.
        code: the code of the first one, or of all if they agree.
        path: where the first one is.
    """

    retryable = False

    def __init__(self, message: str, problems: Iterable[Problem]) -> None:
        super().__init__(message)
        self.message = message
        self.problems = tuple(problems)
        self.code = self.problems[0].code
        self.path = self.problems[0].path

    @classmethod
    def one(cls, code: str, path: str, message: str) -> Self:
        """An error of a single problem: the message is its text, with the place before it."""
        return cls(f"{path}: {message}", (Problem(code, path, message),))

    @classmethod
    def all(cls, what: str, problems: Iterable[Problem]) -> Self:
        """An error that has every problem. Its message lists the first of them, after a headline that begins with `what`."""
        found = tuple(problems)
        count = "1 problem" if len(found) == 1 else f"{len(found)} problems"
        more = [f"and {len(found) - PROBLEMS_MAX} more"] if len(found) > PROBLEMS_MAX else []
        return cls("\n  ".join([f"{what}: {count}", *map(str, found[:PROBLEMS_MAX]), *more]), found)


class UnknownReference(GraphError, AttributeError):
    """A name that is not there. Also an AttributeError, so that `hasattr` and `getattr` behave on expressions."""


class NotCommitted(GraphError):
    """A workflow was run, emitted or used as a step before `commit()`."""
