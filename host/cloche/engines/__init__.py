"""What runs workflow code: the seam (`Cell`, `CellSource`), and its engines."""

from cloche.engines.code import (
    Code,
    Language,
    SourceLanguage,
    bundle_of,
    exceptions_of,
    graph_of,
    graph_outline,
    has_hooks,
    holds_several,
    is_native,
    is_written,
    mode_of,
)
from cloche.engines.direct import DirectEngine
from cloche.engines.processes import ProcessEngine
from cloche.engines.protocol import Cell, CellSource, pinned_guest
from cloche.engines.sandboxed import SandboxEngine

# Mastra's names
DefaultExecutionEngine = DirectEngine
WorkflowExecutionEngine = SandboxEngine

__all__ = [
    "Cell",
    "CellSource",
    "Code",
    "DefaultExecutionEngine",
    "DirectEngine",
    "Language",
    "ProcessEngine",
    "SandboxEngine",
    "SourceLanguage",
    "WorkflowExecutionEngine",
    "bundle_of",
    "exceptions_of",
    "graph_of",
    "graph_outline",
    "has_hooks",
    "holds_several",
    "is_native",
    "is_written",
    "mode_of",
    "pinned_guest",
]
