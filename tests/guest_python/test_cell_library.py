"""The standard library inside: all that is pure, encodings, and modules of the outside that can be imported."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from guest_python.python_cells import outcome, python_cell, workflow

PURE = """
__future__ abc annotationlib argparse array ast asyncio atexit base64 bdb binascii bisect builtins bz2 cProfile
calendar cmath cmd code codecs codeop collections collections.abc colorsys compileall compression.gzip
compression.zlib concurrent.futures configparser contextlib contextvars copy copyreg csv ctypes dataclasses datetime
dbm decimal difflib dis doctest email email.message email.mime.text email.parser email.policy email.utils encodings
enum errno filecmp fileinput fnmatch fractions ftplib functools gc getopt getpass gettext glob graphlib gzip hashlib
heapq hmac html html.parser http http.client http.cookiejar http.cookies http.server imaplib importlib importlib.abc
importlib.machinery importlib.metadata importlib.resources importlib.util inspect io ipaddress itertools json
keyword linecache locale logging logging.config logging.handlers lzma mailbox marshal math mimetypes mmap
modulefinder multiprocessing netrc ntpath nturl2path numbers opcode operator optparse os os.path pathlib
pathlib.types pdb pickle pickletools pkgutil platform plistlib poplib posixpath pprint profile pstats py_compile
pyclbr pydoc queue quopri random re reprlib rlcompleter runpy sched secrets select selectors shelve shlex shutil
signal smtplib socket socketserver sqlite3 ssl stat statistics string string.templatelib stringprep struct
subprocess symtable sys sysconfig tabnanny tarfile tempfile textwrap threading time timeit token tokenize tomllib
trace traceback tracemalloc types typing unicodedata unittest unittest.mock urllib urllib.error urllib.parse
urllib.request urllib.response urllib.robotparser uuid warnings wave weakref webbrowser wsgiref.simple_server
wsgiref.util xml.dom.minidom xml.etree.ElementTree xml.etree.cElementTree xml.sax xmlrpc.client zipapp zipfile zlib
zoneinfo
"""


def test_every_public_module_can_be_imported() -> None:
    body = (
        "from importlib import import_module\nbad = []\n"
        f"for name in {PURE!r}.split():\n    try: import_module(name)\n    except ImportError as e: bad.append(str(e))\n"
        "return bad"
    )

    assert outcome(body) == []


def test_what_the_guest_keeps_of_the_library_can_be_imported_module_by_module() -> None:
    body = (
        "import importlib, _world.store as store\nbad = []\n"
        "for name in store._kept:\n    try: importlib.import_module(name)\n"
        "    except Exception as e: bad.append(f'{name}: {e}')\nreturn [bad, len(store._kept) > 200]"
    )

    assert outcome(body) == [[], True]


@pytest.mark.parametrize(
    ("body", "result"),
    [
        ("return 10**9000 // 10**4000 == 10**5000", True),
        ("import json\nreturn json.loads(b'\\xef\\xbb\\xbf{}')", {}),
        ("return ['é'.encode('cp1252'), 'bücher.de'.encode('idna'), 'ü'.encode('punycode')]", [b"\xe9", b"xn--bcher-kva.de", b"tda"]),  # noqa: E501
        ("return [b'\\xa4'.decode('iso8859-15'), 'a'.encode('utf-16-le'), b'\\\\n'.decode('unicode_escape')]", ["€", b"a\0", "\n"]),  # noqa: E501
        ("return 'あ'.encode('shift_jis')", b"\x82\xa0"),
        (
            "from email.message import EmailMessage\nm = EmailMessage()\nm['Subject'] = 'Zahlung für 7'\nm.set_content('ok')\n"
            "return m.as_string().splitlines()[0]",
            "Subject: Zahlung =?utf-8?q?f=C3=BCr?= 7",
        ),
        (
            "import sqlite3\ndb = sqlite3.connect(':memory:')\ndb.execute('create table t(a, b)')\n"
            "db.executemany('insert into t values (?, ?)', [(n, 'x' * n) for n in range(2000)])\n"
            "return list(db.execute('select count(*), current_timestamp from (select * from t order by b)').fetchone())",
            [2000, "2023-11-14 22:13:20"],
        ),
        ("import sys, json\nold = sys.modules.pop('json')\nimport json as new\nreturn [old is new, new.dumps(1)]", [False, "1"]),  # noqa: E501
        ("import sys, random\nold = sys.modules.pop('random')\nimport random as new\nreturn old is new", True),
        ("import pydoc\nreturn pydoc.locate('json.dumps').__name__", "dumps"),
        ("import mailbox, trace\nreturn [mailbox.Mailbox.__name__, trace.Trace.__name__]", ["Mailbox", "Trace"]),
        ("return 'é'.encode('cp037')", b"\x51"),
        ("from http import HTTPStatus\nreturn HTTPStatus.NOT_FOUND.phrase", "Not Found"),
        ("import argparse\np = argparse.ArgumentParser('x')\np.add_argument('-n', type=int)\nreturn p.parse_args(['-n', '3']).n", 3),  # noqa: E501
        ("import argparse\nreturn argparse.ArgumentParser('x').format_help().splitlines()[0]", "usage: x [-h]"),
        ("import gzip\nreturn gzip.decompress(gzip.compress(b'abc', mtime=0))", b"abc"),
        ("import mimetypes\nreturn mimetypes.guess_type('a.html')[0]", "text/html"),
        ("from unittest.mock import Mock\nm = Mock(return_value=3)\nm(1)\nm.assert_called_once_with(1)\nreturn m()", 3),
        ("import unittest\nclass T(unittest.TestCase):\n    def test_a(self): self.assertEqual(1, 1)\nr = unittest.TestResult()\nT('test_a').run(r)\nreturn [r.testsRun, r.wasSuccessful()]", [1, True]),  # noqa: E501
        ("from xml.dom import minidom\nreturn minidom.parseString('<a b=\"1\"/>').documentElement.getAttribute('b')", "1"),
        ("import zipfile, io\nb = io.BytesIO()\nwith zipfile.ZipFile(b, 'w') as z: z.writestr('a', 'x')\nreturn zipfile.ZipFile(b).namelist()", ["a"]),  # noqa: E501
        ("import platform\nreturn [platform.python_version()[:4], platform.system() != '']", ["3.14", True]),
        ("import getpass, os\nos.environ['USER'] = 'ada'\nreturn [getpass.getuser(), os.getenv('USER')]", ["ada", "ada"]),
        ("import shutil\nreturn list(shutil.get_terminal_size())", [80, 24]),
        ("import doctest\ndef f():\n    '''\n    >>> 1 + 1\n    2\n    '''\nr = doctest.DocTestRunner(verbose=False)\nfor t in doctest.DocTestFinder().find(f, 'f', globs={}): r.run(t)\nreturn [r.tries, r.failures]", [1, 0]),  # noqa: E501
        ("import hashlib\nreturn hashlib.pbkdf2_hmac('sha256', b'password', b'salt', 2, 20).hex()", "ae4d0c95af6b46d32d0adff928f06dd02a303f8e"),  # noqa: E501
        ("import logging.handlers\nh = logging.handlers.MemoryHandler(9)\nh.emit(logging.makeLogRecord({'msg': 'x', 'levelno': 20}))\nreturn h.buffer[0].getMessage()", "x"),  # noqa: E501
        ("import sched, time\nreturn sched.scheduler(time.time, print).empty()", True),
        ("import atexit\nreturn atexit.register(print) is print", True),
        ("return [type(OSError(n, 'x')).__name__ for n in (1, 2, 11, 13, 17, 44, 110, 111)]", ["PermissionError", "FileNotFoundError", "BlockingIOError", "PermissionError", "FileExistsError", "OSError", "TimeoutError", "ConnectionRefusedError"]),  # noqa: E501
        ("import errno, os\nreturn [errno.ENOENT, errno.EWOULDBLOCK, errno.ECONNREFUSED, errno.errorcode[11], errno.errorcode[95], os.strerror(2), os.strerror(4000)]", [2, 11, 111, "EAGAIN", "ENOTSUP", "No such file or directory", "Unknown error 4000"]),  # noqa: E501
    ],
)  # fmt: skip
def test_the_library_works(body: str, result: Any) -> None:
    assert outcome(body) == result


@pytest.mark.parametrize(
    ("body", "name"),
    [
        ("import socket; socket.socket()", "socket.socket"),
        ("from urllib.request import urlopen; urlopen('http://localhost')", "urllib.request.urlopen"),
        ("from tempfile import TemporaryDirectory\nclass T(TemporaryDirectory): pass", "tempfile.TemporaryDirectory"),
        ("import pdb; pdb.set_trace()", "builtins.input"),
        ("import ssl; ssl.create_default_context()", "ssl.create_default_context"),
        ("import multiprocessing.pool as p; p.Pool()", "multiprocessing.pool.Pool"),
        ("import subprocess; subprocess.run(['x'])", "subprocess.run"),
        ("import glob; glob.glob('*')", "glob.glob"),
        ("import os; os.system('x')", "os.system"),
        ("import bz2; bz2.compress(b'')", "bz2.compress"),
        ("from concurrent.futures import ThreadPoolExecutor as T; T()", "concurrent.futures.thread.ThreadPoolExecutor"),
        ("import shutil; shutil.rmtree('x', ignore_errors=True)", "shutil.rmtree"),
    ],
)
def test_what_is_outside_fails_when_it_is_used(body: str, name: str) -> None:
    assert outcome(body) == ("OutsideError", f"{name} is outside of a workflow: make it a step")


@pytest.mark.parametrize(
    ("body", "result"),
    [
        ("import socket\ntry: raise OSError('x')\nexcept socket.timeout: return 1\nexcept socket.error: return 2", 2),
        ("import ssl\ntry: raise ValueError\nexcept (ssl.SSLError, ValueError): return 'caught'", "caught"),
        (
            "import subprocess\ndef f(p: subprocess.Popen | None = None): return isinstance(p, subprocess.Popen)\nreturn f()",
            False,
        ),
        ("import signal\nreturn int(signal.SIGINT)", 2),
        ("import select\nreturn hasattr(select, 'epoll')", False),
        ("from ctypes import c_long, sizeof\nreturn sizeof(c_long)", 4),
        ("import urllib\nreturn hasattr(urllib, 'request')", False),
        (
            "import subprocess\nKind = subprocess.Popen[bytes] | None\nreturn repr(Kind)",
            "subprocess.Popen[bytes] | None",
        ),
        ("from urllib.error import HTTPError\nreturn issubclass(HTTPError, OSError)", True),
    ],
)
def test_its_names_can_be_named(body: str, result: Any) -> None:
    assert outcome(body) == result


@pytest.mark.parametrize(
    ("body", "result"),
    [
        ("import sys\nsys.setrecursionlimit(5000)\ndef f(n): return n and f(n - 1)\nreturn f(4000)", 0),
        ("import sys\nsys.set_int_max_str_digits(0)\nreturn len(str(10**5000))", 5001),
        ("import sys, threading\nsys.settrace(None); sys.setprofile(None); threading.settrace(None)\nreturn 1", 1),
        ("import queue\nq = queue.Queue()\nq.put(1)\nfirst = q.get(timeout=5)\ntry: q.get(timeout=5)\nexcept queue.Empty: return [first, 'empty']", [1, "empty"]),  # noqa: E501
        ("import threading\ne = threading.Event()\ne.set()\nreturn [e.wait(), threading.Event().wait(1)]", [True, False]),
        ("import os\nos.environ['A'] = 'b'\ndel os.environ['A']\nos.environ['C'] = 'd'\nreturn dict(os.environ)", {"C": "d"}),
    ],
)  # fmt: skip
def test_what_stays_within_the_cell_is_allowed(body: str, result: Any) -> None:
    assert outcome(body) == result


def test_print_streams_take_bytes() -> None:
    from guest_python.python_cells import lines

    assert lines(
        "import sys\nsys.stdout.buffer.write('é\\n'.encode()[:1])\nsys.stdout.buffer.write('é\\n'.encode()[1:])"
    ) == [(2, "é")]


def test_a_misspelt_import_says_what_was_meant() -> None:
    name, why = outcome("import colections")

    assert name == "ModuleNotFoundError"
    assert why.startswith("No module named 'colections' in the Python guest: did you mean collections?")


def test_sources_are_shown() -> None:
    head = "import inspect, traceback\ndef fail():\n    raise ValueError('x')  # here\n"
    body = "try: fail()\nexcept ValueError: text = traceback.format_exc()\nreturn ['# here' in text, inspect.getsource(fail)]"

    assert outcome(body, head=head) == [True, "def fail():\n    raise ValueError('x')  # here\n"]


def test_tokenize_reads_the_files_that_are_there() -> None:
    """It took `open` by a name of its own, before the guest's was put in its place; `linecache` reads through it."""
    files = {"shop/__init__.py": "", "shop/prices.py": "def total(x):\n    return x + 1  # here\n"}
    body = "import inspect, linecache, shop.prices\nlinecache.clearcache()\nreturn inspect.getsource(shop.prices.total)"
    source = workflow(body).rstrip("\n") + f"\n# cloche:files {json.dumps(files)}"

    *_, last = python_cell(source).start()
    assert last[1] == files["shop/prices.py"]


def test_folders_are_walked_and_globbed() -> None:
    files = {"shop/__init__.py": "", "shop/data/a.toml": "x = 1", "shop/data/deep/b.toml": "x = 2"}
    body = """
import os, pathlib, shop
root = pathlib.Path(shop.__file__).parent
found = sorted(str(one.relative_to(root)) for one in root.rglob("*.toml"))
walked = [[folder.rpartition("/")[2], sorted(folders), sorted(names)] for folder, folders, names in os.walk(root / "data")]
with os.scandir(root) as entries: kinds = sorted([one.name, one.is_dir()] for one in entries)
return [found, walked, kinds]
"""
    source = workflow(body).rstrip("\n") + f"\n# cloche:files {json.dumps(files)}"

    *_, last = python_cell(source).start()
    assert last[1] == [
        ["data/a.toml", "data/deep/b.toml"],
        [["data", ["deep"], ["a.toml"]], ["deep", [], ["b.toml"]]],
        [["__init__.py", False], ["data", True]],
    ]


def test_a_file_says_itself_what_it_is_encoded_in() -> None:
    latin = base64.b64encode("# coding: latin-1\nTEXT = 'é'\n".encode("latin-1")).decode()
    odd = base64.b64encode(b"# coding: no-such\n").decode()
    files = {"latin.py": {"base64": latin}, "odd.py": {"base64": odd}}
    body = "import latin\ntry: import odd\nexcept SyntaxError as e: return [latin.TEXT, str(e)]"
    source = workflow(body).rstrip("\n") + f"\n# cloche:files {json.dumps(files)}"

    *_, last = python_cell(source).start()
    assert last[1] == ["é", "unknown encoding: no-such"]


def test_a_large_source_with_many_f_strings_is_loaded_in_linear_time() -> None:
    from guest.cells import FUEL
    from guest_python.python_cells import python_cell, workflow

    def cost(count: int) -> int:
        head = "".join(f"def f{i}(x):\n    return f'{{x}} and {{x!r:>10}} of {i}'\n" for i in range(count))
        cell = python_cell(workflow("return f7(1)", head=head))
        return FUEL - cell.store.get_fuel()

    assert cost(2000) < 3 * cost(1000)


def test_a_source_in_pieces_is_the_module_it_was() -> None:
    from guest_python.python_cells import python_cell, workflow

    many = "".join(f"def f{i}(x):\n    return f'{{x}} and {i}'\n" for i in range(800))
    tricky = 'TEXT = """\ndef not_code(): pass\nimport nothing\n"""\nLIST = [\nf"{1}",\n]\n'
    head = f"{many}{tricky}def fail(): raise ValueError\n{many}"
    line = head[: head.index("def fail")].count("\n") + 2
    body = "import traceback\ntry: fail()\nexcept ValueError as e: return [f799(1), LIST, 'import nothing' in TEXT, traceback.extract_tb(e.__traceback__)[-1].lineno]"  # noqa: E501

    cell = python_cell(workflow(body, head=head))
    assert cell.start()[-1][1] == ["1 and 799", ["1"], True, line]


@pytest.mark.parametrize(
    ("body", "name"),
    [
        ("return sqlite3.connect('a.db')", "OutsideError"),
        ("return sqlite3.connect('')", "OutsideError"),
        ("return sqlite3.connect('file:a.db', uri=True)", "OutsideError"),
        ("sqlite3.connect(':memory:').execute(\"attach 'a.db' as a\")", "OperationalError"),
        ("sqlite3.connect(':memory:').execute(\"vacuum into 'a.db'\")", "OperationalError"),
        ("sqlite3.Connection('a.db')", "OperationalError"),
    ],
)
def test_a_database_is_in_memory_alone(body: str, name: str) -> None:
    assert outcome(f"import sqlite3\n{body}")[0] == name


def test_a_database_is_the_same_in_each_replay() -> None:
    body = """
import sqlite3
db = sqlite3.connect(":memory:")
db.execute("create table t(a)")
for n in range(50):
    db.execute("insert into t values (randomblob(20))")
    input = await step("x")(n)
return db.execute("select random(), hex(group_concat(a)) from t order by a").fetchone()
"""
    cells = [python_cell(workflow(body)) for _ in range(2)]
    answers = [[cell.start(), *(cell.complete(call, None) for call in range(1, 51))] for cell in cells]

    assert answers[0] == answers[1]
    assert cells[0].state() == cells[1].state()
