"""The benchmarks, as `cloche bench`: every figure beside a baseline of the same run. How to read them: benchmarks/README.md."""

from benchmarks.figures import Figure, Scale
from benchmarks.suite import SUITE, run_suite

__all__ = ["SUITE", "Figure", "Scale", "run_suite"]
