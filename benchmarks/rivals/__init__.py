"""Other durable runtimes, measured with the same workload on the same machine: `python -m benchmarks.rivals`."""
