"""What runs a module of CPython's tests under glass: its list of tests for no input, one of them for its number.

`MODULE` is put before it. A test answers [how it ended, the last lines of why]; `passes`, `skips`, `fails`.
"""

import importlib
import sys
import traceback
import types
import unittest

from cloche import workflow

sys.modules.setdefault("__main__", types.ModuleType("__main__"))


def _flat(suite):
    for one in suite:
        if isinstance(one, unittest.TestSuite):
            yield from _flat(one)
        else:
            yield one


OF_C = ("_testcapi", "_testinternalcapi", "_testlimitedcapi", "_testbuffer", "_testsinglephase", "_testmultiphase")


def _imported():
    """Once more with stand-ins, where the whole module cannot do without: what uses them fails by their names."""
    name = f"test.{MODULE}"  # noqa: F821
    try:
        return importlib.import_module(name)
    except (ImportError, unittest.SkipTest):
        sys.modules.pop(name, None)
    for one in OF_C:
        sys.modules.setdefault(one, types.ModuleType(one))
    importlib.import_module("test.support").has_socket_support = True
    return importlib.import_module(name)


def _found():
    module = _imported()
    modules = [module]
    if hasattr(module, "__path__"):
        inner = [name for name in INNER if name.rpartition(".")[2].startswith("test")]  # noqa: F821
        modules = [module, *(importlib.import_module(name) for name in inner)]
    loader = unittest.TestLoader()
    loader.suiteClass = unittest.TestSuite
    tests = []
    for one in modules:
        if one is module and hasattr(module, "__path__"):
            vars(module).pop("load_tests", None)  # which looks for files
        tests += _flat(loader.loadTestsFromModule(one))
    return tests


TESTS = _found()


class _Result(unittest.TestResult):
    why = ("passes", "")

    def _worse(self, kind, test, error):
        if self.why[0] != "fails":
            self.why = (kind, "".join(traceback.format_exception(*error))[-2000:])

    def addError(self, test, error):
        self._worse("fails", test, error)

    addFailure = addError

    def addSubTest(self, test, subtest, error):
        if error is not None:
            self._worse("fails", test, error)

    def addSkip(self, test, reason):
        if self.why[0] == "passes" and not isinstance(test, unittest.case._SubTest):
            self.why = ("skips", reason)

    def addUnexpectedSuccess(self, test):
        self.why = ("fails", "an unexpected success")


@workflow
def main(input):
    if input is None:
        return [one.id() for one in TESTS]
    result = _Result()
    unittest.TestSuite([TESTS[input]]).run(result)
    return list(result.why)
