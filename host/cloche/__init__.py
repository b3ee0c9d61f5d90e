"""cloche: durable workflows under glass. The names that users import; everything is loaded when it is first used."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cloche.engines import DirectEngine, ProcessEngine, SandboxEngine
    from cloche.errors import ClocheError, DeployRefused, FatalError, QueueFull, RetryableError, RunConflict, RunFailed
    from cloche.history import Failure
    from cloche.runtime import (
        Cloche,
        ReplayReport,
        Run,
        RunResult,
        StepContext,
        StepResult,
        Tenant,
        VerifyReport,
        Workflow,
        clone_workflow,
        create_workflow,
        from_mastra,
        load_workflow,
        workflow,
    )
    from cloche.sandbox import Limits
    from cloche.tenancy import Grant, Policy
    from cloche_codegen import (
        Canceled,
        EventTimeout,
        Graph,
        GraphError,
        RetryConfig,
        Step,
        clone_step,
        code,
        create_step,
        gather,
        now,
        patched,
        path,
        race,
        refs,
        sleep,
        sleep_until,
        start_child,
        step,
        wait_for_event,
    )

__version__ = "0.1.0"

_HOMES = {
    "cloche_codegen": (
        "Canceled",
        "EventTimeout",
        "Graph",
        "GraphError",
        "RetryConfig",
        "Step",
        "clone_step",
        "code",
        "create_step",
        "gather",
        "now",
        "patched",
        "path",
        "race",
        "refs",
        "sleep",
        "sleep_until",
        "start_child",
        "step",
        "wait_for_event",
    ),
    "cloche.engines": ("DirectEngine", "ProcessEngine", "SandboxEngine"),
    "cloche.tenancy": ("Grant", "Policy"),
    "cloche.errors": (
        "ClocheError",
        "DeployRefused",
        "QueueFull",
        "FatalError",
        "RetryableError",
        "RunConflict",
        "RunFailed",
    ),
    "cloche.history": ("Failure",),
    "cloche.runtime": (
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
    ),
    "cloche.sandbox": ("Limits",),
}
_HOME = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "Canceled",
    "Cloche",
    "ClocheError",
    "DeployRefused",
    "DirectEngine",
    "EventTimeout",
    "Failure",
    "FatalError",
    "Grant",
    "Graph",
    "GraphError",
    "Limits",
    "Policy",
    "ProcessEngine",
    "QueueFull",
    "ReplayReport",
    "RetryConfig",
    "RetryableError",
    "Run",
    "RunConflict",
    "RunFailed",
    "RunResult",
    "SandboxEngine",
    "Step",
    "StepContext",
    "StepResult",
    "Tenant",
    "VerifyReport",
    "Workflow",
    "clone_step",
    "clone_workflow",
    "code",
    "create_step",
    "create_workflow",
    "from_mastra",
    "gather",
    "load_workflow",
    "now",
    "patched",
    "path",
    "race",
    "refs",
    "sleep",
    "sleep_until",
    "start_child",
    "step",
    "wait_for_event",
    "workflow",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'cloche' has no attribute '{name}'")
    value = getattr(import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
