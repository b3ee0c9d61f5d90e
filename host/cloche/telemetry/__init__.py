"""What is seen of runs from outside: metrics and traces, both observers (`Cloche(…, observers=[Metrics()])`), and log lines."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cloche.telemetry.logs import JsonLines
    from cloche.telemetry.metrics import Metrics
    from cloche.telemetry.traces import Traces

__all__ = ["JsonLines", "Metrics", "Traces"]

_MODULES = {"JsonLines": "logs", "Metrics": "metrics", "Traces": "traces"}


def __getattr__(name: str) -> Any:
    """Loaded when it is asked for: each needs an optional part of its own."""
    from importlib import import_module

    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"cloche.telemetry.{_MODULES[name]}"), name)
