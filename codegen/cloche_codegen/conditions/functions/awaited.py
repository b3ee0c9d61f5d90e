"""The events that a function waits for, as it is written: `wait_for_event("paid", schema=Payment)`."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator
from types import FunctionType
from typing import Any

from cloche_codegen.conditions.functions.refusals import refused
from cloche_codegen.conditions.functions.source import Written


def schemas_awaited(function: FunctionType, source: Written) -> Iterator[tuple[str | None, Any]]:
    """The schemas that stand in such calls, each with the name of its event, None where that is computed.

    A schema that is computed is left out: the guest knows what it is when it waits.
    """
    scope = {**function.__globals__, **inspect.getclosurevars(function).nonlocals}
    for node in ast.walk(source.node):
        if not isinstance(node, ast.Call) or ast.unparse(node.func).rpartition(".")[2] != "wait_for_event":
            continue
        schema = next((one.value for one in node.keywords if one.arg == "schema"), None)
        try:
            found = None if schema is None else eval(compile(ast.Expression(schema), "<schema>", "eval"), scope)
        except Exception:
            continue
        if isinstance(found, str):
            reason, advice = f"its schema is the text {found!r}", f"give the type itself: schema={found}"
            raise refused(source, node, reason, advice)
        if found is not None:
            first = node.args[0] if node.args else None
            yield first.value if isinstance(first, ast.Constant) and isinstance(first.value, str) else None, found
