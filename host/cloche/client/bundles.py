"""`load_bundle`: the workflows of a TypeScript or JavaScript file, to be run like any others."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cloche.client.workflows import Workflow
from cloche.engines import SandboxEngine
from cloche.errors import TargetError
from cloche.operations.typescript import read_bundle
from cloche.run.source_maps import authored
from cloche_codegen import Graph, Source, Step
from cloche_codegen.emission import source_of


class ScriptWorkflow(Workflow[Any, Any]):
    """A function with "use workflow". Its input is the list of the function's arguments."""

    is_script = True

    def __init__(self, id: str, script: Source) -> None:
        super().__init__(id=id, guest="javascript")
        self._script = script
        self._late = self._empty_graph

    def _empty_graph(self) -> Graph:
        return Graph(id=self.id, nodes=(), guest="javascript", metadata={"script": self._script.digest})

    def source(self, language: object = None) -> Source:
        """What runs under glass: the same text for all workflows of the bundle."""
        return self._script

    @property
    def authored(self) -> dict[str, str]:
        """The files that it was compiled of, as their author wrote them, by path; none of a script of another builder."""
        return authored(self._script.code)


@dataclass(frozen=True)
class LoadedBundle:
    """What `load_bundle` gives.

    Attributes:
        workflows: those of the file and of what it imports, each with the name of its function as its id; two that share a
            name have their whole ids.
        steps: the ids of the steps that they may call. A step of this process that has the name of the function is that step,
            and so is one with the whole id.
    """

    workflows: list[Workflow[Any, Any]]
    steps: list[str]

    def workflow(self, name: str | None = None) -> Workflow[Any, Any]:
        """The workflow of this name, or whole id; without one the only one.

        Raises:
            TargetError: there is none, or it is not said which.
        """
        names = ", ".join(one.id for one in self.workflows) or "none"
        if name is None and len(self.workflows) == 1:
            return self.workflows[0]
        if name is None:
            raise TargetError(f"it is not said which workflow; there are: {names}", target="")
        found = [one for one in self.workflows if name in (one.id, f"workflow//{one.id}", one.id.rpartition("//")[2])]
        if len(found) != 1:
            raise TargetError(f"there is no workflow '{name}'; there are: {names}", target=name)
        return found[0]

    def with_steps(self, module: Mapping[str, Any]) -> list[Step]:
        """The steps of this bundle in a module's names: a step that has its name as its id, or a function that is called so."""
        found: dict[str, Step] = {}
        by_id = {one.id: one for one in module.values() if isinstance(one, Step)}
        for id in self.steps:
            name = id.rpartition("//")[2]
            own = by_id.get(id) or by_id.get(name)
            function = own or _function(module, name)
            if isinstance(function, Step):
                found[function.id] = function
            elif function is not None:
                from cloche.steps import create_step

                found[id] = create_step(id=id, execute=function)
        return [*found.values(), *(one for one in by_id.values() if one.id not in found)]


def load_bundle(path: str | os.PathLike[str]) -> LoadedBundle:
    """The workflows of a file: TypeScript or JavaScript with "use workflow", or a script of the Workflow SDK's builder.

    What it imports is found as Node.js finds it: relative files, and packages of `node_modules` that need nothing of Node.js.
    It is compiled under glass, and nothing of it is run here. Blocks: some 50 ms, the first time in a process a second.

    Raises:
        TargetError: there is no such file, or it is neither.
        CompileError: it cannot be compiled: the message and the fact `problems` have file, line and column of each problem.
        GuestUnavailable: this installation has no compiler.
    """
    bundle = read_bundle(SandboxEngine(), Path(path))
    script = source_of(bundle.source, {})
    workflows: list[Workflow[Any, Any]] = [ScriptWorkflow(name, script) for name in bundle.workflows]
    return LoadedBundle(workflows, list(bundle.steps))


def _function(module: Mapping[str, Any], name: str) -> Callable[..., Any] | Step | None:
    """`charge`, `Cart.add`, `Cart#pay`, and of a nested `main/inner` what is called `inner`."""
    first, *rest = name.rpartition("/")[2].replace("#", ".").split(".")
    found = module.get(first)
    for part in rest:
        found = getattr(found, part, None)
    return found if callable(found) or isinstance(found, Step) else None
