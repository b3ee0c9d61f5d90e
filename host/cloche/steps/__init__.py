"""Steps: how they are made, what they are given, how one attempt is made, and what of its failure is recorded."""

from cloche.steps.authoring import create_step, step
from cloche.steps.context import StepContext
from cloche.steps.node import NodeError, NodeSteps

__all__ = ["NodeError", "NodeSteps", "StepContext", "create_step", "step"]
