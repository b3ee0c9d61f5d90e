"""Runs that are conducted elsewhere: a cell led by events that another engine keeps.

`Conductor` is the cell, `Ports` what it needs of the engine. Each adapter is imported by its own name, with its SDK:
`cloche.foreign.inngest`, `cloche.foreign.restate`, `cloche.foreign.temporal`.
"""

from cloche.foreign.conductor import Conductor
from cloche.foreign.hosted import Hosted, Hosting
from cloche.foreign.ports import ExecutionEngine, Ports, conduct

__all__ = ["Conductor", "ExecutionEngine", "Hosted", "Hosting", "Ports", "conduct"]
