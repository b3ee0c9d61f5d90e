from simpleeval import EvalWithCompoundTypes, InvalidExpression, simple_eval


def program():
    try:
        simple_eval("().__class__")
    except InvalidExpression as error:
        return [
            simple_eval("price * n + 1", names={"price": 3, "n": 4}),
            EvalWithCompoundTypes().eval("[x * 2 for x in [1, 2]]"),
            type(error).__name__,
        ]
