"""Execution: scheduler, steps, timers, recovery, and the client that users hold."""

from cloche.runtime.client import Cloche
from cloche.runtime.reading import ReplayReport, VerifyReport
from cloche.runtime.results import RunResult, StepResult
from cloche.runtime.runs import Run
from cloche.runtime.steps import StepContext
from cloche.runtime.tenants import Tenant
from cloche.runtime.workflows import Workflow, clone_workflow, create_workflow, from_mastra, load_workflow, workflow

__all__ = [
    "Cloche",
    "ReplayReport",
    "Run",
    "RunResult",
    "StepContext",
    "StepResult",
    "Tenant",
    "VerifyReport",
    "Workflow",
    "clone_workflow",
    "create_workflow",
    "from_mastra",
    "load_workflow",
    "workflow",
]
