"""Steps: what they are given, how one attempt is made, and what of its failure is recorded."""

from cloche.steps.context import StepContext

__all__ = ["StepContext"]
