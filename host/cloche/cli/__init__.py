"""The command line: parse, call the client, print. Everything heavy is imported when a command needs it."""

from cloche.cli import dev, run, serve, token, webhook, signal, show, operate, schedule, times, limits  # isort: skip  # the order of the help
from cloche.cli import compile, store, doctor, warm, sign, deploy, tenant, usage, migrate, bench  # isort: skip
from cloche.cli.base import main

__all__ = [
    "bench",
    "compile",
    "deploy",
    "dev",
    "doctor",
    "limits",
    "main",
    "migrate",
    "operate",
    "run",
    "schedule",
    "serve",
    "show",
    "sign",
    "signal",
    "store",
    "tenant",
    "times",
    "token",
    "usage",
    "warm",
    "webhook",
]
