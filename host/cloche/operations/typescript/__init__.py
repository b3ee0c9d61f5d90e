"""Code with "use workflow": TypeScript and JavaScript as they are written, and scripts that other builders compiled of them."""

from cloche.operations.typescript.bundles import Bundle, compile_on_disk, is_marked, is_script, read_bundle
from cloche.operations.typescript.compiling import COMPILE_LIMITS, Compiled, Marked, compile_files
from cloche.operations.typescript.deploying import Brought, compiled_by, workflow_in
from cloche.operations.typescript.problems import CompileProblem, check_problems
from cloche.operations.typescript.resolving import Disk, Given, Resolver, SourceFile

__all__ = [
    "COMPILE_LIMITS",
    "Brought",
    "Bundle",
    "CompileProblem",
    "Compiled",
    "Disk",
    "Given",
    "Marked",
    "Resolver",
    "SourceFile",
    "check_problems",
    "compile_files",
    "compile_on_disk",
    "compiled_by",
    "is_marked",
    "is_script",
    "read_bundle",
    "workflow_in",
]
