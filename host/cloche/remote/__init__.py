"""Performing remote steps in Python: `StepWorker` asks for attempts, `StepReceiver` is sent them.

The protocol is in `docs/operations/remote-steps.md`.
"""

from cloche.remote.receiver import StepReceiver
from cloche.remote.worker import StepWorker

__all__ = ["StepReceiver", "StepWorker"]
