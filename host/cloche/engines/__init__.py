"""What runs workflow code: the seam, and the engines behind it."""

from cloche.engines.direct import DirectEngine
from cloche.engines.processes import ProcessEngine
from cloche.engines.protocol import Cell, CellSource, Code, Language
from cloche.engines.sandboxed import SandboxEngine

__all__ = ["Cell", "CellSource", "Code", "DirectEngine", "Language", "ProcessEngine", "SandboxEngine"]
