"""What componentize-py starts CPython with: import the library a workflow may use, then the memory is kept.

The generated `turn` is never called: the driver talks to the interpreter itself. The class satisfies componentize-py's world.
"""

import argparse
import encodings
import importlib._bootstrap_external
import marshal
import os
import pkgutil
import sys
import sysconfig
import zlib
from importlib import import_module
from types import CodeType
from typing import Any

# Imported here: to import them costs a cell nothing.
LIBRARY = """
__future__ _ast_unparse _markupbase _strptime _threading_local abc annotationlib argparse array ast asyncio atexit
base64 binascii bisect builtins calendar cmath codecs collections collections.abc colorsys compression
concurrent.futures configparser contextlib contextvars copy copyreg csv dataclasses datetime decimal difflib dis email
email.charset email.contentmanager email.encoders email.errors email.generator email.header email.headerregistry
email.message email.parser email.policy email.utils encodings.aliases encodings.ascii encodings.base64_codec
encodings.charmap encodings.cp1252 encodings.hex_codec encodings.idna encodings.iso8859_1 encodings.latin_1
encodings.raw_unicode_escape encodings.unicode_escape encodings.utf_16 encodings.utf_16_be encodings.utf_16_le
encodings.utf_32 encodings.utf_7 encodings.utf_8 encodings.utf_8_sig enum errno fnmatch fractions functools gc getpass
gettext graphlib gzip hashlib heapq hmac html html.entities html.parser http importlib.abc importlib.machinery
importlib.metadata importlib.resources importlib.resources.abc importlib.util inspect io ipaddress itertools json
json.decoder json.encoder keyword linecache locale logging marshal math mimetypes ntpath numbers opcode operator os
os.path pathlib pickle pkgutil platform pprint queue quopri random re reprlib secrets shlex sqlite3 sqlite3.dbapi2
stat statistics string string.templatelib struct sys sysconfig textwrap threading time token tokenize tomllib
traceback types typing unicodedata urllib.error urllib.parse urllib.response uuid warnings weakref
xml.etree.ElementTree zipfile zipimport zlib zoneinfo zoneinfo._common zoneinfo._tzpath zoneinfo._zoneinfo
"""
# Kept as compressed code (`world/store.py`), and run by the cell that imports them: each takes a third of the room.
KEPT = """
_py_abc _pyio _pylong _pyrepl _pyrepl.pager _pyrepl.trace _pyrepl.types _pyrepl.utils bdb cmd code codeop
compileall compression compression.gzip compression.zlib doctest email.iterators email.mime email.mime.application
email.mime.audio email.mime.base email.mime.image email.mime.message email.mime.multipart email.mime.nonmultipart
email.mime.text filecmp getopt http.cookiejar http.cookies importlib.metadata._adapters importlib.metadata._meta
importlib.metadata._text importlib.metadata.diagnose importlib.readers importlib.resources._adapters
importlib.resources._functional importlib.resources._itertools importlib.resources.readers
importlib.resources.simple importlib.simple json.tool logging.config logging.handlers mailbox modulefinder netrc
nturl2path optparse pathlib.types pdb pickletools plistlib pstats py_compile pyclbr pydoc
rlcompleter runpy sched sqlite3.dump sre_compile sre_constants sre_parse stringprep symtable tabnanny tarfile
timeit trace unittest unittest._log unittest.async_case unittest.case unittest.loader unittest.main unittest.mock
unittest.result unittest.runner unittest.signals unittest.suite unittest.util urllib.robotparser wave wsgiref
wsgiref.handlers wsgiref.headers wsgiref.types wsgiref.util wsgiref.validate xml.dom xml.dom.NodeFilter
xml.dom.domreg xml.dom.expatbuilder xml.dom.minicompat xml.dom.minidom xml.dom.pulldom xml.dom.xmlbuilder
xml.etree.ElementInclude xml.etree.cElementTree xml.parsers xml.parsers.expat xml.sax xml.sax._exceptions
xml.sax.expatreader xml.sax.handler xml.sax.saxutils xml.sax.xmlreader zipapp
"""
# Kept too although they are imported here: who takes one of them out of `sys.modules`, as tests of Python halves and C halves
# do, imports a fresh one. Not those that `world` has changed.
FRESH = """
_py_warnings bisect fractions functools heapq hmac json json.decoder json.encoder json.scanner operator stat types uuid warnings
"""
# What is outside of a workflow (`world/outside.py`), and keeps there its constants and exceptions.
OUTSIDE = "http.client select selectors shutil signal socket subprocess tempfile urllib.request"
# Encodings that are left out: of Windows alone, and one whose half in C is not there.
_MISSING = "bz2_codec mbcs oem"

_loader: Any = importlib._bootstrap_external.SourceLoader
_to_code = _loader.source_to_code


def _to_bare_code(self: object, source: bytes, path: str) -> CodeType:
    """Without documentation and columns, a third of what the guest would weigh: nobody reads them in there."""
    return _without_columns(compile(source, path, "exec", dont_inherit=True, optimize=2))


_NO_COLUMNS, _NO_LINE, _UNITS_MAX = 13 << 3, 15 << 3, 8  # of an entry in a table of places


def _without_columns(code: CodeType) -> CodeType:
    """With the lines alone: a traceback can show no text of the library, so there is nothing for columns to point at."""
    table, last = bytearray(), code.co_firstlineno
    for start, end, line in code.co_lines():
        units = (end - start) // 2
        while units:
            count = min(units, _UNITS_MAX)
            units -= count
            table.append(0x80 | (_NO_LINE if line is None else _NO_COLUMNS) | count - 1)
            if line is not None:
                table += _signed(line - last)
                last = line
    inner = tuple(_without_columns(one) if isinstance(one, CodeType) else one for one in code.co_consts)
    return code.replace(co_linetable=bytes(table), co_consts=inner)


def _signed(number: int) -> bytes:
    """As the table has it: the sign is the lowest bit, and six bits are in a byte, the lowest first."""
    number = -number << 1 | 1 if number < 0 else number << 1
    made = bytearray()
    while number > 63:
        made.append(64 | number & 63)
        number >>= 6
    return bytes([*made, number])


_loader.source_to_code = _to_bare_code
for _name in LIBRARY.split():
    __import__(_name)
for _name in OUTSIDE.split():
    __import__(_name)
_loader.source_to_code = _to_code
_library = os.path.dirname(argparse.__file__)  # that of `os`, which is frozen, is another


def _kept(name: str) -> tuple[bytes, bool]:
    """The marshalled code of a module, and whether it is a package. Its package is not asked, which would be imported."""
    path = f"{_library}/{name.replace('.', '/')}"
    is_package = os.path.isdir(path)
    path = f"{path}/__init__.py" if is_package else f"{path}.py"
    with open(path, "rb") as file:
        code = _to_bare_code(None, file.read(), path)
    return marshal.dumps(code), is_package


def _compressed(data: bytes, is_package: bool) -> tuple[bytes, bool]:
    packer = zlib.compressobj(9, zdict=common)
    return packer.compress(data) + packer.flush(), is_package


_encodings = [
    f"encodings.{module.name}"
    for module in pkgutil.iter_modules(encodings.__path__)
    if module.name not in _MISSING.split()
]
_config = [
    name for name in sys.modules if name.startswith("_sysconfigdata")
]  # how CPython was built: large, and hardly asked for
for _name in _config:
    del sys.modules[_name]
vars(sysconfig).update(_CONFIG_VARS=None, _CONFIG_VARS_INITIALIZED=False)
_names = sorted({*KEPT.split(), *_config, *_encodings}.difference(sys.modules).union(FRESH.split()))
# What they have in common, encodings above all: with it each of those takes half of the room.
common = b"".join(_kept(name)[0] for name in _names if name.startswith("encodings."))[-(32 << 10) :]
# One after the other: what is freed here is not all filled with zeros later, and would be a part of the guest.
kept = {name: _compressed(*_kept(name)) for name in _names}

# What remembers the machine of the build: paths, and when directories were changed.
sys.path_importer_cache.clear()

# Room on the heap for cells to grow in, below the driver's data: malloc keeps it when it is freed. All zero, so that
# nothing of the build is left in it.
_room = bytearray(8 << 20)
del _room


_world: Any = import_module("wit_world")


class WitWorld(_world.WitWorld):  # type: ignore[misc]  # generated, and only there while componentize-py runs
    def turn(self, events: bytes) -> bytes:
        return b""
