"""The truth table and the texts of values, asked of the JavaScript guest: the same answers as in Python."""

from __future__ import annotations

from typing import Any

from codegen.truth_table import ROWS
from codegen_execution.driving import drive

from cloche_codegen import code, create_workflow
from cloche_codegen.conditions.values import MISSING, text_of


def test_the_guest_answers_every_row_of_the_table() -> None:
    names = {"in": "isIn"}
    table: dict[str, Any] = {}
    flowing: dict[str, Any] = {}
    for row, (op, operands, _) in enumerate(ROWS):
        for place, operand in enumerate(operands):
            if operand is not MISSING:
                flowing[f"{row}_{place}"] = operand
        arguments = ", ".join(f'inputData["{row}_{place}"]' for place in range(len(operands)))
        table[f"r{row}"] = code(f"cloche.{names.get(op, op)}({arguments})")
    ran = drive(create_workflow(id="table").map(table).commit(), flowing)
    assert ran.failure is None
    answers = {f"r{row}": expected for row, (_, _, expected) in enumerate(ROWS)}
    assert ran.result == answers


def test_templates_show_values_alike() -> None:
    values: list[Any] = [
        None, "", "a\u2028é", True, 1.0, -0.0, 1e21, 1e-7, 0.1, 123456789012345680000.0, 2**64, 5e-324,
        {"b": 1, "10": 2, "9": [None, 1.5]}, [], [[]], {"a": {"x": "\n"}}, b"\x01\xff",
    ]  # fmt: skip
    fields = {f"t{i}": {"template": f"<${{inputData.{i}}}>"} for i in range(len(values))}
    ran = drive(create_workflow(id="texts").map(fields).commit(), values)
    assert ran.result == {f"t{i}": f"<{text_of(value)}>" for i, value in enumerate(values)}
