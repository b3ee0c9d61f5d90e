"""The command line: parse, call the client, print. Everything heavy is imported when a command needs it."""

from cloche.cli import run, signal, show, store, doctor, warm, sign, deploy, tenant, usage, migrate, bench  # isort: skip  # the order of the help
from cloche.cli.base import main

__all__ = [
    "bench",
    "deploy",
    "doctor",
    "main",
    "migrate",
    "run",
    "show",
    "sign",
    "signal",
    "store",
    "tenant",
    "usage",
    "warm",
]
