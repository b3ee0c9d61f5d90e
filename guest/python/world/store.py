"""Modules inside of the guest: sources by name, compiled when they are first imported. There are no files."""

import sys
from importlib.machinery import ModuleSpec

_sources = {}


def add(sources):
    """`sources`: module name -> (source, whether it is a package)."""
    _sources.update(sources)


class Store:
    """Finder and loader of what was added."""

    @staticmethod
    def find_spec(name, path=None, target=None):
        if name not in _sources:
            return None
        return ModuleSpec(name, Store, origin=f"<{name}>", is_package=_sources[name][1])

    @staticmethod
    def create_module(spec):
        return None

    @staticmethod
    def exec_module(module):
        source, _ = _sources[module.__name__]
        exec(compile(source, f"<{module.__name__}>", "exec", dont_inherit=True), module.__dict__)

    @staticmethod
    def get_source(name):
        return _sources[name][0]


sys.meta_path.insert(0, Store)
