"""What componentize-py starts CPython with: import the library a workflow may use, then the memory is kept.

The generated `turn` is never called: the driver talks to the interpreter itself. The class satisfies componentize-py's world.
"""

import importlib._bootstrap_external
import sys
from importlib import import_module
from types import CodeType
from typing import Any

LIBRARY = """
__future__ _ast_unparse _strptime abc array ast base64 binascii bisect builtins calendar cmath codecs collections
collections.abc colorsys concurrent.futures configparser contextlib contextvars copy copyreg csv dataclasses datetime
decimal difflib encodings.ascii encodings.hex_codec encodings.idna encodings.latin_1 encodings.utf_16 encodings.utf_32
enum fnmatch fractions functools gc graphlib hashlib heapq hmac html html.entities html.parser inspect io itertools json
json.decoder json.encoder keyword linecache locale logging math numbers operator os os.path pathlib pickle pprint queue
random re reprlib secrets shlex statistics string string.templatelib struct sys textwrap threading time token tokenize
tomllib traceback types typing unicodedata urllib.parse uuid warnings weakref xml.etree.ElementTree zlib zoneinfo
zoneinfo._common zoneinfo._tzpath zoneinfo._zoneinfo
"""

_loader: Any = importlib._bootstrap_external.SourceLoader
_to_code = _loader.source_to_code


def _to_bare_code(self: object, source: bytes, path: str) -> CodeType:
    """Without documentation, an eighth of what the guest would weigh: nobody reads it in there."""
    return compile(source, path, "exec", dont_inherit=True, optimize=2)


_loader.source_to_code = _to_bare_code
for _name in LIBRARY.split():
    __import__(_name)
_loader.source_to_code = _to_code

# What remembers the machine of the build: paths, and when directories were changed.
sys.path_importer_cache.clear()

# Room on the heap for cells to grow in, below the driver's data: malloc keeps it when it is freed. All zero, so that
# nothing of the build is left in it.
_room = bytearray(4 << 20)
del _room


_world: Any = import_module("wit_world")


class WitWorld(_world.WitWorld):  # type: ignore[misc]  # generated, and only there while componentize-py runs
    def turn(self, events: bytes) -> bytes:
        return b""
