from datetime import date

import cattrs
from attrs import define


@define
class Line:
    sku: str
    n: int


@define
class Order:
    due: date
    lines: list[Line]
    note: str | None = None


def program():
    converter = cattrs.Converter()
    converter.register_structure_hook(date, lambda text, _: date.fromisoformat(text))
    converter.register_unstructure_hook(date, date.isoformat)
    order = converter.structure({"due": "2026-01-02", "lines": [{"sku": "a", "n": "3"}]}, Order)
    try:
        converter.structure({"due": "2026-01-02", "lines": [{"sku": "a", "n": "x"}]}, Order)
    except cattrs.ClassValidationError as error:
        return [converter.unstructure(order), cattrs.transform_error(error)]
