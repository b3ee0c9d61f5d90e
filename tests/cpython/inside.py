"""What runs a module of CPython's tests under glass: its list of tests for no input, one of them for its number.

`MODULE` is put before it. A test answers [how it ended, the last lines of why]; `passes`, `skips`, `fails`.
"""

import importlib
import logging
import os
import random
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
OUTSIDE = ("http.client", "http.server", "socketserver", "smtplib", "big_o")


class _Stand(types.ModuleType):
    """Has every name, as a class: a test that makes one of it asks for what is absent on purpose."""

    loading = True

    def __getattr__(self, name):
        if name[:2] == "__":
            raise AttributeError(name)

        def __new__(*_, **__):
            if _Stand.loading:
                return 0
            raise ModuleNotFoundError(f"No module named {self.__name__!r}")

        return type(name, (), {"__new__": __new__})


def _no_bytes(size):
    raise NotImplementedError


def _stand_in(level):
    """For what a module asks for at its top: empty modules first, then such as have every name."""
    for one in OF_C:
        sys.modules[one] = types.ModuleType(one) if level == 1 else _Stand(one)
    if level == 2:
        for one in OUTSIDE:
            sys.modules[one] = _Stand(one)
            package, _, last = one.rpartition(".")
            if package:
                setattr(importlib.import_module(package), last, sys.modules[one])
        helper = importlib.import_module("test.support.os_helper")
        helper._can_chmod = helper._can_dac_override = helper._can_symlink = helper._can_xattr = False
        os.listdir = lambda *_: []  # of the library's folder
        random._urandom = _no_bytes


def _imported(name):
    """Once more with stand-ins, where the whole module cannot do without: what uses them fails by their names."""
    listdir, urandom = os.listdir, random._urandom
    for level in (1, 2):
        try:
            return importlib.import_module(name)
        except (ImportError, unittest.SkipTest, OSError, TypeError):
            sys.modules.pop(name, None)
        _stand_in(level)
        importlib.import_module("test.support").has_socket_support = True
    try:
        return importlib.import_module(name)
    finally:
        os.listdir, random._urandom = listdir, urandom


class _Unloaded(unittest.TestCase):
    """One of the modules of a package, which ends as its import does."""

    def __init__(self, name, error):
        super().__init__("import_it")
        self.name, self.error = name, error

    def id(self):
        return f"{self.name}.import"

    def import_it(self):
        raise self.error


def _inner():
    for name in INNER:  # noqa: F821
        if name.rpartition(".")[2].startswith("test"):
            try:
                yield name, _imported(name)
            except Exception as error:
                yield name, _Unloaded(name, error)


def _found():
    module = _imported(f"test.{MODULE}")  # noqa: F821
    loader = unittest.TestLoader()
    loader.suiteClass = unittest.TestSuite
    inner = list(_inner()) if hasattr(module, "__path__") else []
    if inner:
        vars(module).pop("load_tests", None)  # which looks for files
    tests = list(_flat(loader.loadTestsFromModule(module)))
    for _, one in inner:
        tests += [one] if isinstance(one, _Unloaded) else _flat(loader.loadTestsFromModule(one))
    return tests


TESTS = _found()
_Stand.loading = False
if MODULE == "test_logging":  # noqa: F821
    logging._handlers.clear(), logging._handlerList.clear(), logging.root.handlers.clear()
    logging.root.setLevel(logging.WARNING)
    logging.raiseExceptions = logging.logThreads = logging.logProcesses = logging.logMultiprocessing = True
    logging.logAsyncioTasks = True


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
