import attr
from attrs import Factory, asdict, define, evolve, field, validators


@define
class Line:
    sku: str
    n: int = field(default=1, validator=validators.ge(1))


@define(order=True)
class Order:
    id: int
    lines: list = Factory(list)


def program():
    order = Order(1, [Line("a", 2)])
    try:
        Line("b", 0)
    except ValueError as error:
        return [asdict(evolve(order, id=2)), repr(order), Order(1) < Order(2), str(error), attr.has(Order)]
