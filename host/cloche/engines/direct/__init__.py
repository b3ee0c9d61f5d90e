"""The engine without glass: the Python of a workflow on the prelude of the Python guest, in this process."""

from cloche.engines.direct.engine import DirectEngine

__all__ = ["DirectEngine"]
