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
_pylong _pyrepl _pyrepl.trace _pyrepl.types _pyrepl.utils bdb cmd code codeop compression compression.gzip
compression.zlib doctest email.iterators email.mime email.mime.application email.mime.audio email.mime.base
email.mime.image email.mime.message email.mime.multipart email.mime.nonmultipart email.mime.text filecmp getopt
http.cookiejar http.cookies importlib.metadata._adapters importlib.metadata._meta importlib.readers
importlib.resources._adapters importlib.resources._functional importlib.resources.readers importlib.simple json.tool
logging.config logging.handlers netrc nturl2path optparse pdb pickletools plistlib pstats rlcompleter runpy sched
sqlite3.dump sre_compile sre_constants sre_parse stringprep symtable tabnanny tarfile timeit unittest unittest._log
unittest.async_case unittest.case unittest.loader unittest.main unittest.mock unittest.result unittest.runner
unittest.signals unittest.suite unittest.util urllib.robotparser wave wsgiref wsgiref.handlers wsgiref.headers
wsgiref.types wsgiref.util wsgiref.validate xml.dom xml.dom.NodeFilter xml.dom.domreg xml.dom.expatbuilder
xml.dom.minicompat xml.dom.minidom xml.dom.pulldom xml.dom.xmlbuilder xml.etree.ElementInclude xml.parsers
xml.parsers.expat xml.sax xml.sax._exceptions xml.sax.expatreader xml.sax.handler xml.sax.saxutils xml.sax.xmlreader
"""
# What is outside of a workflow (`world/outside.py`), and keeps there its constants and exceptions.
OUTSIDE = "http.client select selectors shutil signal socket subprocess tempfile urllib.request"
# Encodings that are left out: of Windows alone, one whose half in C is not there, and of EBCDIC, DOS and old Macs
# those that are hardly met.
_MISSING = """
bz2_codec cp037 cp1006 cp1026 cp1125 cp1140 cp273 cp424 cp500 cp720 cp737 cp775 cp855 cp856 cp857 cp858 cp860 cp861
cp862 cp863 cp864 cp865 cp869 cp875 hp_roman8 kz1048 mac_arabic mac_croatian mac_farsi mac_iceland mac_romanian
mac_turkish mbcs oem palmos ptcp154
"""

_loader: Any = importlib._bootstrap_external.SourceLoader
_to_code = _loader.source_to_code


def _to_bare_code(self: object, source: bytes, path: str) -> CodeType:
    """Without documentation, an eighth of what the guest would weigh: nobody reads it in there."""
    return compile(source, path, "exec", dont_inherit=True, optimize=2)


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
_names = [name for name in sorted([*KEPT.split(), *_config, *_encodings]) if name not in sys.modules]
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
