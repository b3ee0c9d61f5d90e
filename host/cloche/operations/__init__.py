"""What is done with a store at rest: replay, verification, export, deployment, upkeep. No run is executed here."""

from cloche.operations.replay import ReplayReport, VerifyReport

__all__ = ["ReplayReport", "VerifyReport"]
