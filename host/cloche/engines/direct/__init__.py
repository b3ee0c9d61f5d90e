"""The engine without glass: an interpreter of the lowered statement tree, in this process."""

from cloche.engines.direct.engine import DirectEngine

__all__ = ["DirectEngine"]
