"""Cells in processes of their own, one process a tenant."""

from cloche.engines.processes.engine import ProcessEngine

__all__ = ["ProcessEngine"]
