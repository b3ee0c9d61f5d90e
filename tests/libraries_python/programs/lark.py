from lark import Lark, Transformer, UnexpectedInput

GRAMMAR = """
?sum: product | sum "+" product -> add
?product: atom | product "*" atom -> mul
?atom: NUMBER -> number | "(" sum ")"
%import common.NUMBER
%import common.WS
%ignore WS
"""


class Value(Transformer):
    number = lambda self, found: float(found[0])
    add = lambda self, found: found[0] + found[1]
    mul = lambda self, found: found[0] * found[1]


def program():
    parser = Lark(GRAMMAR, start="sum", parser="lalr")
    try:
        parser.parse("1 + + 2")
    except UnexpectedInput as error:
        return [Value().transform(parser.parse("2 * (3 + 4)")), error.line, error.column]
