"""An interpreter of the lowered statement tree: a third opinion of what a graph means, beside the two guests.

It was DirectEngine until that came to run on the Python guest's prelude. Graphs that were random, and code strings, are what it
is asked about; nothing of it is in the package.
"""

from oracle.engine import DirectEngine

__all__ = ["DirectEngine"]
