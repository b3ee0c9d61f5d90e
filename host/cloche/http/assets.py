"""The dashboard: a page and its assets, which a build of `host/dashboard` has put beside this module.

Nothing of a tenant's is in them, so they are given to everybody; the data come from `/v1`, for who signs in. The page takes
nothing from anywhere but the server that sent it, runs no script that is not a file of it, and is shown in no frame.
"""

from __future__ import annotations

import gzip
from dataclasses import dataclass, field
from functools import cache
from hashlib import blake2b
from pathlib import Path

from fastapi import APIRouter, Request
from fastapi.responses import Response

from cloche.errors import NotFound
from cloche.http.bodies import is_known

router = APIRouter(include_in_schema=False)
FOLDER = Path(__file__).with_name("dashboard")
ASSETS = "/assets/"
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
)
_KINDS = {".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}
_MISSING = b"""<!doctype html><html lang="en"><meta charset="utf-8"><title>cloche</title>
<h1>The dashboard is not built</h1>
<p>This is a checkout of cloche without its dashboard. Build it with <code>make dashboard</code>, and load this page again.</p>
<p>The API is served all the same: <a href="openapi.json">openapi.json</a> describes it.</p>
"""


@dataclass(frozen=True)
class File:
    """A file of the dashboard, as it is sent."""

    data: bytes
    kind: str
    tag: str
    packed: bytes = field(repr=False)


@cache
def _file(path: Path, changed_ns: int) -> File:
    """`changed_ns`: when it was written, so that a file that is built anew is read anew."""
    packed = path.with_name(f"{path.name}.gz")  # by the build, smaller than it could be made now
    kind = _KINDS.get(path.suffix, "application/octet-stream")
    return _made(path.read_bytes(), kind, packed.read_bytes() if packed.exists() else None)


def _made(data: bytes, kind: str, packed: bytes | None = None) -> File:
    tag = blake2b(data, digest_size=12).hexdigest()
    return File(data, f"{kind}; charset=utf-8", tag, packed or gzip.compress(data, mtime=0))


@router.get("/", response_model=None)
async def get_page(request: Request) -> Response:
    """The dashboard; relative to it lie `assets/` and `v1/`, so its address ends with a slash."""
    if not request.scope["path"].endswith("/"):
        return _with_slash(request)
    path = FOLDER / "index.html"
    file = _file(path, path.stat().st_mtime_ns) if path.exists() else _made(_MISSING, "text/html")
    return _sent(request, file, "no-cache")


@router.get("/assets/{name}", response_model=None)
async def get_asset(request: Request, name: str) -> Response:
    """A file of the page. Its name changes with its content: it is kept for ever."""
    path = FOLDER / "assets" / name
    if "/" in name or path.suffix == ".gz" or not path.is_file():
        raise NotFound(f"there is no asset {name!r}", kind="asset", id=name)
    return _sent(request, _file(path, path.stat().st_mtime_ns), "public, max-age=31536000, immutable")


def _with_slash(request: Request) -> Response:
    name = request.scope.get("root_path", "").rsplit("/", 1)[-1]
    return Response(None, 307, {"Location": f"{name}/"})


def _sent(request: Request, file: File, kept: str) -> Response:
    headers = {
        "ETag": f'"{file.tag}"',
        "Cache-Control": kept,
        "Vary": "Accept-Encoding",
        "Content-Security-Policy": _POLICY,
    }
    if is_known(request, headers["ETag"]):
        return Response(None, 304, headers)
    if "gzip" in request.headers.get("accept-encoding", ""):
        return Response(file.packed, 200, {**headers, "Content-Encoding": "gzip"}, file.kind)
    return Response(file.data, 200, headers, file.kind)


def is_page(path: str) -> bool:
    """Whether what is asked for is of the dashboard itself, for which nobody needs to sign in."""
    return path in ("", "/") or path.startswith(ASSETS)
