from RestrictedPython import compile_restricted, safe_globals
from RestrictedPython.Eval import default_guarded_getitem


def program():
    code = compile_restricted("result = sum(x * n for x in range(4))", "<rule>", "exec")
    names = {
        **safe_globals,
        "n": 3,
        "_getiter_": iter,
        "sum": sum,
        "range": range,
        "_getitem_": default_guarded_getitem,
    }
    exec(code, names)
    try:
        compile_restricted("x.__class__", "<rule>", "eval")
    except SyntaxError as error:
        return [names["result"], str(error)]
