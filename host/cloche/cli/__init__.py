"""The command line: parse, call the client, print. Everything heavy is imported when a command needs it."""

from cloche.cli import (
    bench,
    deploy,
    dev,
    doctor,
    migrate,
    run,
    serve,
    show,
    sign,
    signal,
    store,
    tenant,
    token,
    usage,
    warm,
)  # isort: skip  # the order of the help
from cloche.cli.base import main

__all__ = [
    "bench",
    "deploy",
    "dev",
    "doctor",
    "main",
    "migrate",
    "run",
    "serve",
    "show",
    "sign",
    "signal",
    "store",
    "tenant",
    "token",
    "usage",
    "warm",
]
