"""The prelude of the Python guest, run by the Python of the tests: quick, and without a built guest.

A cell is a package of its own, imported anew. `_cloche`, which is C in the guest, is written here in Python: the same
encoding, the same refusals, by the rules of `guest/ABI.md`.
"""

from __future__ import annotations

import builtins
import importlib.util
import struct
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from enum import Enum
from itertools import count
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn

from guest_python.loop_driver import LoopDriver

from cloche.engines.direct.functions import Data
from cloche.errors import InvalidInput
from cloche.history.values import decode
from cloche.history.values import plain as plain_on_the_host

PRELUDE = Path(__file__).parents[2] / "guest" / "python" / "prelude"
DEPTH_MAX = 64
_numbers = count()


class Fault(BaseException):
    """What the guest answers instead of commands."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


class Encoded(bytes):
    pass


def encoded(value: object, label: str, depth: int = 0) -> Encoded:
    return Encoded(packed(value, label, depth))


def plain(value: object, label: str) -> Any:
    try:
        return _received(plain_on_the_host(value, label))
    except InvalidInput as error:
        raise TypeError(str(error)) from None


_faults: list[Fault] = []


def fault(code: int) -> NoReturn:
    """Remembered, as the driver does: whoever catches it, the turn ends with it."""
    _faults.append(Fault(code))
    raise _faults[0]


def trace(error: BaseException) -> list[list[Any]]:
    frames, at = [], error.__traceback__
    while at is not None:
        if at.tb_frame.f_code.co_filename == "<workflow>":
            frames.append([at.tb_lineno, at.tb_frame.f_code.co_name])
        at = at.tb_next
    return frames[-20:]


def _module(driver: LoopDriver) -> ModuleType:
    module = ModuleType("_cloche")
    for one in (Data, Encoded, encoded, fault, plain, trace):
        setattr(module, one.__name__, one)
    vars(module).update(driver.names)
    return module


def _head(major: int, argument: int) -> bytes:
    if argument < 24:
        return bytes([major << 5 | argument])
    size = 1 if argument < 1 << 8 else 2 if argument < 1 << 16 else 4 if argument < 1 << 32 else 8
    return bytes([major << 5 | {1: 24, 2: 25, 4: 26, 8: 27}[size]]) + argument.to_bytes(size, "big")


def _text(text: str) -> bytes:
    whole = text.encode("utf-16-be", "surrogatepass").decode("utf-16-be", "replace")
    data = whole.encode()
    return _head(3, len(data)) + data


def _integer(value: int) -> bytes:
    argument = -1 - value if value < 0 else value
    if argument < 1 << 64:
        return _head(1 if value < 0 else 0, argument)
    data = argument.to_bytes((argument.bit_length() + 7) // 8, "big")
    return _head(6, 3 if value < 0 else 2) + _head(2, len(data)) + data


def _float(value: float) -> bytes:
    if value != value:
        return b"\xf9\x7e\x00"
    if value in (float("inf"), float("-inf")):
        return b"\xf9\x7c\x00" if value > 0 else b"\xf9\xfc\x00"
    return struct.pack(">Bd", 0xFB, value)


def _instant(value: datetime) -> bytes:
    return b"\xc0" + _text(value.isoformat().replace("+00:00", "Z"))


def packed(value: Any, place: str, depth: int) -> bytes:
    match value:
        case Encoded():
            return bytes(value)
        case None | bool():
            return {None: b"\xf6", False: b"\xf4", True: b"\xf5"}[value]
        case int():
            return _integer(value)
        case float():
            return _float(value)
        case str():
            return _text(value)
        case bytes():
            return _head(2, len(value)) + value
        case datetime():
            return _instant(value)
        case Enum():
            return packed(value.value, place, depth)
        case dict() | list() | tuple():
            if depth >= DEPTH_MAX:
                raise TypeError(f"{place} is nested deeper than {DEPTH_MAX}")
            return _map(value, place, depth) if isinstance(value, dict) else _list(value, place, depth)
        case _:
            raise TypeError(f"{place} is a {type(value).__name__}")


def _list(items: Sequence[Any], place: str, depth: int) -> bytes:
    parts = (packed(item, f"{place}[{i}]", depth + 1) for i, item in enumerate(items))
    return _head(4, len(items)) + b"".join(parts)


def _map(fields: dict[str, Any], place: str, depth: int) -> bytes:
    entries = sorted((_text(key), packed(item, f"{place}.{key}", depth + 1)) for key, item in dict(fields).items())
    entries.sort(key=lambda entry: (len(entry[0]), entry[0]))
    return _head(5, len(fields)) + b"".join(key + item for key, item in entries)


def _received(value: Any) -> Any:
    if isinstance(value, dict):
        return Data((key, _received(item)) for key, item in dict(value).items())
    return [_received(item) for item in value] if isinstance(value, list | tuple) else value


class LoopCell:
    """One run. `turn` is that of an engine's cell; a fault is raised."""

    def __init__(self, source: str) -> None:
        self.name = f"glass_{next(_numbers)}"
        self.driver = LoopDriver(encoded, fault)
        sys.modules["_cloche"] = _module(self.driver)
        self.package = self._imported("")
        self.loop = self.driver.loop = self._imported("._loop")
        self.driver.canceled = self.part("_failures").Canceled
        with self._named_cloche():
            self.loop.load(source)

    def _imported(self, part: str) -> ModuleType:
        if not part:
            spec = importlib.util.spec_from_file_location(
                self.name, PRELUDE / "__init__.py", submodule_search_locations=[str(PRELUDE)]
            )
            assert spec is not None
            assert spec.loader is not None
            module = sys.modules[self.name] = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(module)
            return module
        return importlib.import_module(self.name + part)

    @contextmanager
    def _named_cloche(self) -> Iterator[None]:
        """`cloche` is this cell's package for whoever imports it meanwhile."""
        real: Callable[..., Any] = builtins.__import__

        def imported(name: str, *args: Any, **kwargs: Any) -> Any:
            if name == "cloche" or name.startswith("cloche."):
                name = self.name + name.removeprefix("cloche")
            return real(name, *args, **kwargs)

        builtins.__import__ = imported
        try:
            yield
        finally:
            builtins.__import__ = real

    def deliver(self, event: list[Any]) -> list[Any]:
        _faults.clear()
        commands: list[Any] = self.driver.deliver(_received(event))
        if _faults:
            raise _faults[0]
        return commands

    def turn(self, events: Sequence[bytes]) -> bytes:
        return b"".join(
            b"".join(packed(command, "command", -1) for command in self.deliver(decode(event))) + b"\xf6"
            for event in events
        )

    def part(self, name: str) -> ModuleType:
        """A module of this cell's package."""
        return self._imported(f".{name}")

    def close(self) -> None:
        for name in [name for name in sys.modules if name == self.name or name.startswith(self.name + ".")]:
            del sys.modules[name]
