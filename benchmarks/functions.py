"""Python functions in a workflow: what it costs to take one under glass, and to ask it there."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

from benchmarks import histories as h
from benchmarks.figures import Figure, Scale, median_us
from cloche.engines.code import Language
from cloche.sandbox import Cell
from cloche_codegen import Workflow, clone_step, create_step, create_workflow, path

NODES = 200
FEW, MANY = 50, 200
same = create_step(id="same", execute=lambda data: data)


def functions(_: Scale) -> Iterator[Figure]:
    """Taken at commit, and asked in both guests."""
    plain = _commit_us(lambda number: path("inputData.v"))
    taken = _commit_us(lambda number: lambda data: data["v"] + number)
    each = (taken - plain) / NODES
    yield Figure("a Python function taken in, a node", each, "µs", "a node with an expression", plain / NODES, 1_000)
    baseline = _python_us()
    for language in ("javascript", "python"):
        if language == "python" and not h.has_python():
            continue
        yield Figure(f"a condition, {language}", _asked_us(language), "µs", "the same lambda in CPython", baseline, 20)


def _commit_us(value: Callable[[int], Any]) -> float:
    def commit() -> None:
        workflow = create_workflow(id="w")
        for number in range(NODES):
            workflow.map(value(number))
        workflow.commit()

    return median_us(commit, 5)


def _python_us() -> float:
    conditions = [_condition(number) for number in range(MANY)]
    data, begin = {"v": -1}, time.perf_counter_ns()
    for condition in conditions:
        condition(data)
    return (time.perf_counter_ns() - begin) / 1000 / MANY


def _asked_us(language: Language) -> float:
    """What one more condition costs a turn: it is asked once, of a cell that has heard nothing before."""
    return (_turn_us(language, MANY) - _turn_us(language, FEW)) / (MANY - FEW)


def _turn_us(language: Language, conditions: int) -> float:
    """One turn in which every condition of a choose is asked, and none holds."""
    image = h.image(_asking(conditions).source(language).code, language)
    event = h.started({"v": -1}).pack()
    cells = iter([Cell(image, h.LIMITS) for _ in range(20)])
    return median_us(lambda: next(cells).turn([event]), 20)


def _asking(conditions: int) -> Workflow:
    arms = [(_condition(number), clone_step(same, id=f"s{number}")) for number in range(conditions)]
    return create_workflow(id="w").choose(arms).commit()


def _condition(number: int) -> Callable[[Any], bool]:
    return lambda data: data["v"] > number
