"""Results of the benchmarks, rivals, and what CI compares; the benchmarks themselves are `cloche.bench`."""
