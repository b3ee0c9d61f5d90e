"""The command line: parse, call the client, print. Everything heavy is imported when a command needs it."""

from cloche.cli import execute, wish, look, check, doctor, sign, deploy, bill, measure  # isort: skip  # the order of the help
from cloche.cli.base import main

__all__ = ["bill", "check", "deploy", "doctor", "execute", "look", "main", "measure", "sign", "wish"]
