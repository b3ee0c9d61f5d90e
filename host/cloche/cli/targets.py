"""Finding what a command-line TARGET names: `file.py:name`, `package.module:name`, `flow.ts:name`, or a graph's `.json`.

A name is that of a workflow, or of a `Cloche`, which says itself what it executes and where.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, TypeAlias, cast

from cloche.errors import TargetError

if TYPE_CHECKING:
    from cloche.client import Cloche, Workflow
    from cloche.tenancy import InForce
    from cloche_codegen import Step

Modules: TypeAlias = dict[Path, ModuleType]  # those that targets of one command name, by their files


def find_workflow(target: str, steps: str | None = None) -> Workflow:
    """The committed workflow that `target` names, or the only one of the `Cloche` that it names.

    `steps` is the file with the steps of a `.json` graph.

    Raises:
        TargetError: no such file, module or name, or it is not a committed workflow.
    """
    return workflow_of(find_runnable([target], steps)[0], target)


def find_runnable(targets: Sequence[str], steps: str | None = None) -> list[Workflow | Cloche]:
    """What each target names. Targets of one file, and `steps`, are one import: what they define is the same to all.

    Raises:
        TargetError: as `find_workflow`.
    """
    modules: Modules = {}
    return [_runnable(target, steps, modules) for target in targets]


def find_workflows(file: str) -> list[Workflow]:
    """All workflows that a file defines at its top level.

    Raises:
        TargetError: there is no such file, it raised when it was imported, or it defines none.
    """
    from cloche.client import Workflow, load_bundle
    from cloche.operations.typescript import is_script

    if is_script(file):
        return list(load_bundle(file).workflows)
    module = _module(file, file, {})
    found = {id(value): value for value in vars(module).values() if isinstance(value, Workflow) and value.committed}
    if not found:
        raise TargetError(
            f"{file} defines no workflow: give it one with @cloche.workflow, or end it with .commit()", target=file
        )
    return list(found.values())


def workflow_of(found: Workflow | Cloche, target: str) -> Workflow:
    """The workflow that is to be run.

    Raises:
        TargetError: it is a `Cloche` that does not have exactly one.
    """
    from cloche.client import Cloche

    if not isinstance(found, Cloche):
        return found
    workflows: list[Any] = found.workflows
    if len(workflows) != 1:
        ids = ", ".join(workflow.id for workflow in workflows) or "none"
        raise TargetError(
            f"{target} is a Cloche, and does not say which workflow; its workflows are: {ids}", target=target
        )
    [workflow] = workflows
    return cast("Workflow", workflow)


def _runnable(target: str, steps: str | None, modules: Modules) -> Workflow | Cloche:
    from cloche.client import Cloche, Workflow

    if target.endswith(".json"):
        return _from_json(Path(target), steps, modules)
    from cloche.operations.typescript import is_script

    place, _, name = target.rpartition(":")
    if is_script(place or name):
        return _scripted(place or name, name if place else None, steps, modules)
    found: Workflow | Cloche = _found(target, "workflow", Workflow, Cloche, modules=modules)
    if not isinstance(found, Cloche) and not found.committed:
        raise TargetError(f"{target} is a workflow that is not committed: end it with .commit()", target=target)
    return found


def find_policies(target: str) -> InForce:
    """The policies that `target` names: of a `Cloche`, a `Policy` for all tenants, or a mapping of tenant to `Policy`.

    Raises:
        TargetError: no such file, module or name, or it is something else.
    """
    from cloche.client import Cloche
    from cloche.tenancy import InForce, Policy

    found = _found(target, "Cloche", Cloche, Policy, dict, modules={})
    if isinstance(found, Cloche):
        return found.policies
    if isinstance(found, Policy):
        return InForce.given(found)
    if not all(isinstance(name, str) and isinstance(policy, Policy) for name, policy in found.items()):
        raise TargetError(f"{target} is a dict, and not one of tenant to Policy", target=target)
    return InForce.given(None, found)


def find_steps(place: str, modules: Modules) -> dict[str, Step]:
    """All steps that a file or module defines at its top level, by id."""
    from cloche_codegen import Step

    module = _module(place, place, modules)
    return {value.id: value for value in vars(module).values() if isinstance(value, Step)}


def _scripted(place: str, name: str | None, steps: str | None, modules: Modules) -> Workflow:
    """A workflow of a TypeScript or JavaScript file, with the steps that a file of Python has for it."""
    from cloche.client import load_bundle

    bundle = load_bundle(place)
    try:
        found = bundle.workflow(name)
    except TargetError as error:
        raise TargetError(f"{place}: {error.message}", target=place) from None
    if steps is not None:
        found.steps = {step.id: step for step in bundle.with_steps(vars(_module(steps, steps, modules)))}
    return found


def _from_json(file: Path, steps: str | None, modules: Modules) -> Workflow:
    from cloche.client import load_workflow

    try:
        text = file.read_bytes()
    except OSError as error:
        raise TargetError(f"{file} cannot be read: {error.strerror}", target=str(file)) from error
    return load_workflow(text, steps=find_steps(steps, modules) if steps else {})


def _module(place: str, target: str, modules: Modules) -> ModuleType:
    """What stands at `place`, imported unless it was for another target."""
    is_file = place.endswith(".py") or "/" in place
    known = modules.get(Path(place).resolve()) if is_file else None
    if known is None:
        known = _imported(place, target, is_file=is_file)
        if known.__file__ is not None:
            modules[Path(known.__file__).resolve()] = known
    return known


def _imported(place: str, target: str, *, is_file: bool) -> ModuleType:
    try:
        if is_file:
            return _from_file(Path(place), target)
        sys.path.insert(0, "")
        try:
            return importlib.import_module(place)
        finally:
            sys.path.remove("")
    except TargetError:
        raise
    except ModuleNotFoundError as error:
        raise TargetError(f"{target}: {error}; give a file as path/to/file.py:name", target=target) from error
    except (Exception, SystemExit) as error:
        raise TargetError(
            f"{place} raised while it was imported: {type(error).__name__}: {error}", target=target
        ) from error


def _from_file(file: Path, target: str) -> ModuleType:
    if not file.is_file():
        raise TargetError(f"there is no file {file}", target=target)
    from cloche_codegen.names import TARGET_PREFIX

    spec = importlib.util.spec_from_file_location(f"{TARGET_PREFIX}{file.stem}", file)
    if spec is None or spec.loader is None:
        raise TargetError(f"{file} is not a Python file", target=target)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # annotations are looked up there
    sys.path.insert(0, str(file.parent.resolve()))  # as `python file.py` would: its neighbours can be imported
    spec.loader.exec_module(module)
    return module


def _found(target: str, word: str, kind: type[Any], *others: type[Any], modules: Modules) -> Any:
    """What `target` names: a `kind`, which users call `word`, or one of `others`. Without a name: the only one of `kind`."""
    place, colon, name = target.rpartition(":")
    if not colon:
        place, name = target, ""
    if not place:
        raise TargetError(f"'{target}' names no file or module: give path/to/file.py:name", target=target)
    module = _module(place, target, modules)
    of_kind = {at: value for at, value in vars(module).items() if isinstance(value, kind)}
    offer = f"; its {word}s are: {', '.join(sorted(of_kind))}" if of_kind else f"; it defines no {word}"
    if name:
        found = getattr(module, name, None)
        if found is None:
            raise TargetError(f"{place} has no '{name}'{offer}", target=target)
    elif len(of_kind) != 1:
        raise TargetError(f"{target} does not say which {word}{offer}", target=target)
    else:
        [found] = of_kind.values()
    if not isinstance(found, (kind, *others)):
        wanted = " or ".join([word, *(other.__name__ for other in others)])
        raise TargetError(f"{target} is a {type(found).__name__}, not a {wanted}{offer}", target=target)
    return found
