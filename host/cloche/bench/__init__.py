"""The benchmarks, as `cloche bench`: every figure beside a baseline of the same run. How to read them: benchmarks/README.md."""

from cloche.bench.figures import Figure, Scale
from cloche.bench.suite import SUITE, run_suite

__all__ = ["SUITE", "Figure", "Scale", "run_suite"]
