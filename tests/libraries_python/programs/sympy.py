import sympy


def program():
    x = sympy.Symbol("x")
    return [
        str(sympy.expand((x + 1) ** 3)),
        str(sympy.solve(x**2 - 2, x)),
        str(sympy.diff(sympy.sin(x) * x, x)),
        str(sympy.factorint(360)),
        str(sympy.Rational(1, 3) + 1),
    ]
