"""The help: every command stands under a task, and has an example that the command takes as it is written."""

from __future__ import annotations

import shlex

import click
import pytest
from support.commands import cloche

from cloche.cli import main
from cloche.cli.base import TASKS

EVERY = sorted(main.commands)


def _examples(name: str) -> list[str]:
    lines = (main.commands[name].help or "").partition("Example")[2].splitlines()
    return [line.strip() for line in lines if line.strip().startswith("cloche ")]


def test_the_help_lists_every_command_once_under_a_task() -> None:
    listed = [name for names in TASKS.values() for name in names]
    assert sorted(listed) == EVERY
    out = cloche("--help").out
    assert "Other:" not in out
    assert all(f"{task}:" in out for task in TASKS)


@pytest.mark.parametrize("name", EVERY)
def test_a_command_has_an_example_that_it_takes(name: str) -> None:
    examples = _examples(name)
    assert examples
    for line in examples:
        program, command, *arguments = shlex.split(line)
        assert (program, command) == ("cloche", name)
        with click.Context(main) as parent:
            main.commands[name].make_context(name, arguments, parent=parent)  # parsed, not executed


def test_an_example_with_an_option_that_is_not_there_would_be_seen() -> None:
    with click.Context(main) as parent, pytest.raises(click.UsageError):
        main.commands["runs"].make_context("runs", ["--no-such-option"], parent=parent)
