import json
from datetime import date

from marshmallow import Schema, ValidationError, fields, validate


class LineSchema(Schema):
    sku = fields.Str(required=True)
    n = fields.Int(validate=validate.Range(min=1))


class OrderSchema(Schema):
    due = fields.Date()
    total = fields.Decimal(places=2, as_string=True)
    lines = fields.List(fields.Nested(LineSchema))


def program():
    good = OrderSchema().dump({"due": date(2026, 1, 2), "total": "3.14159", "lines": [{"sku": "a", "n": 1}]})
    try:
        OrderSchema().load({"due": "x", "lines": [{"n": 0}]})
    except ValidationError as error:
        return [good, json.dumps(error.messages)]  # its keys are numbers, which do not cross
