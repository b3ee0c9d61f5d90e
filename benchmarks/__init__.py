"""The benchmarks: `python -m benchmarks [NAME …]`. Every figure stands beside a baseline of the same run."""
