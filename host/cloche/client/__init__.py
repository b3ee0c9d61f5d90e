"""What users hold: `Client` and `Cloche`, the handles of tenants and runs, and workflows that can be run."""

from cloche.client.building import WorkflowBuilder, create_workflow
from cloche.client.bundles import LoadedBundle, load_bundle
from cloche.client.client import Client, TenantRuns
from cloche.client.cloche import Cloche
from cloche.client.evaluation import Evaluation, Problem
from cloche.client.records import RunRecord
from cloche.client.runs import Run
from cloche.client.schedules import Schedule, Schedules
from cloche.client.sync import SyncCloche, SyncRun
from cloche.client.tenants import Tenant
from cloche.client.workflows import Workflow, clone_workflow, from_mastra, load_workflow, workflow
from cloche.operations.schedules import FiringInfo, ScheduleInfo
from cloche.store import FailureGroup, RunRow, Usage

__all__ = [
    "Client",
    "Cloche",
    "Evaluation",
    "FailureGroup",
    "FiringInfo",
    "LoadedBundle",
    "Problem",
    "Run",
    "RunRecord",
    "RunRow",
    "Schedule",
    "ScheduleInfo",
    "Schedules",
    "SyncCloche",
    "SyncRun",
    "Tenant",
    "TenantRuns",
    "Usage",
    "Workflow",
    "WorkflowBuilder",
    "clone_workflow",
    "create_workflow",
    "from_mastra",
    "load_bundle",
    "load_workflow",
    "workflow",
]
