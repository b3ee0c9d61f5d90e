"""cloche's compiler: builder → graph → validation → statement tree → JavaScript or Python. Knows neither guest nor host."""

from cloche_codegen.builder import AnyStep, Workflow
from cloche_codegen.conditions.code import Code, code
from cloche_codegen.conditions.expressions import Refs, patched, path, refs
from cloche_codegen.emission import Source
from cloche_codegen.errors import GraphError, NotCommitted, Problem, UnknownReference
from cloche_codegen.factories import clone_workflow, create_workflow, load_workflow
from cloche_codegen.graph import Graph
from cloche_codegen.javascript import javascript
from cloche_codegen.limits import AnyLimit, BadKey, Concurrency, RateLimit, key_of, limits_of
from cloche_codegen.lower import lower
from cloche_codegen.mastra import from_mastra
from cloche_codegen.mermaid import mermaid
from cloche_codegen.native import workflow
from cloche_codegen.parameters import resource
from cloche_codegen.python import python
from cloche_codegen.remote_steps import RemoteStep
from cloche_codegen.steps import RetryConfig, Step, clone_step, create_step, step
from cloche_codegen.svg import svg
from cloche_codegen.words import (
    Batch,
    BatchItem,
    Canceled,
    DeadlineExceeded,
    EventTimeout,
    HeartbeatTimeout,
    Hook,
    HookConflict,
    Task,
    continue_as_new,
    create_hook,
    create_task,
    gather,
    now,
    race,
    scope,
    set_deadline,
    set_tags,
    sleep,
    sleep_until,
    start_child,
    wait_for_event,
)

__all__ = [
    "AnyLimit",
    "AnyStep",
    "BadKey",
    "Batch",
    "BatchItem",
    "Canceled",
    "Code",
    "Concurrency",
    "DeadlineExceeded",
    "EventTimeout",
    "Graph",
    "GraphError",
    "HeartbeatTimeout",
    "Hook",
    "HookConflict",
    "NotCommitted",
    "Problem",
    "RateLimit",
    "Refs",
    "RemoteStep",
    "RetryConfig",
    "Source",
    "Step",
    "Task",
    "UnknownReference",
    "Workflow",
    "clone_step",
    "clone_workflow",
    "code",
    "continue_as_new",
    "create_hook",
    "create_step",
    "create_task",
    "create_workflow",
    "from_mastra",
    "gather",
    "javascript",
    "key_of",
    "limits_of",
    "load_workflow",
    "lower",
    "mermaid",
    "now",
    "patched",
    "path",
    "python",
    "race",
    "refs",
    "resource",
    "scope",
    "set_deadline",
    "set_tags",
    "sleep",
    "sleep_until",
    "start_child",
    "step",
    "svg",
    "wait_for_event",
    "workflow",
]
