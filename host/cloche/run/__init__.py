"""One run: its turns, its attempts, its limits, and how it is rebuilt from its log."""

from cloche.run.results import RunResult, StepResult

__all__ = ["RunResult", "StepResult"]
