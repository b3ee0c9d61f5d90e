"""What `serve` and `worker` tell of runs to the outside: options, and the observers that they make."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from cloche.telemetry import Metrics

F = TypeVar("F", bound=Callable[..., Any])


def telemetry_options(command: F) -> F:
    """`--metrics-of-tenants`."""
    tenants = click.option(
        "--metrics-of-tenants",
        type=click.IntRange(0),
        default=0,
        show_default=True,
        metavar="COUNT",
        help="How many tenants have a label of their own in metrics; 0: metrics have no tenants.",
    )
    return tenants(command)


def made_metrics(store: str, metrics_of_tenants: int) -> Metrics:
    """
    Raises:
        UsageError: prometheus-client is not installed.
    """
    from cloche.telemetry import Metrics

    is_postgres = store.startswith(("postgres:", "postgresql:"))
    kind = "postgresql" if is_postgres else "memory" if store == "memory:" else "sqlite"
    return Metrics(tenants_max=metrics_of_tenants, store=kind)


def watching() -> list[Any]:
    """Who else watches the runs of a process: traces, where OpenTelemetry is installed."""
    from importlib.util import find_spec

    if find_spec("opentelemetry") is None:
        return []
    from cloche.telemetry import Traces

    return [Traces()]


def serve_metrics(metrics: Metrics, address: str) -> None:
    """Answer Prometheus on `[HOST:]PORT`, from a thread, until the process ends.

    Raises:
        UsageError: that is no address, or it cannot be had.
    """
    from cloche.errors import UsageError

    host, _, port = address.rpartition(":")
    if not port.isdecimal() or int(port) > 65_535:
        raise UsageError(f"{address!r} is not [HOST:]PORT")
    try:
        metrics.serve(host or "127.0.0.1", int(port))
    except OSError as error:
        raise UsageError(f"{address} cannot be listened on: {error.strerror or error}") from error
