"""Performing remote steps: `StepWorker`, a worker in Python. The protocol is in `docs/operations/remote-steps.md`."""

from cloche.remote.worker import StepWorker

__all__ = ["StepWorker"]
