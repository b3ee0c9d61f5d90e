"""The page's example of `auth=` with OpenID Connect, against an issuer on this machine that signs with keys of its own."""

from __future__ import annotations

import re
import runpy
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from json import dumps
from pathlib import Path
from threading import Thread
from typing import Any

from joserfc import jwt
from joserfc.jwk import RSAKey
from support.apps import AppOn, Journal, in_loop
from support.served import adding, asker

from cloche import http
from cloche.run.clock import SystemWorld
from cloche.store import MemoryStore

PAGE = Path(__file__).parents[3] / "docs/operations/http.md"


class Issuer:
    """Says where its keys are, and signs."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.key = RSAKey.generate_key(2048, {"kid": "1"}, private=True)
        self.asked: list[str] = []

    def token(self, *, key: RSAKey | None = None, **more: Any) -> str:
        now = int(time.time())
        claims = {
            "iss": self.url,
            "aud": "cloche",
            "sub": "ann",
            "exp": now + 60,
            "tenant": "acme",
            "role": "operator",
            **more,
        }
        return jwt.encode({"alg": "RS256", "kid": "1"}, claims, key or self.key)

    def answer(self, path: str) -> Any:
        self.asked.append(path)
        if path == "/.well-known/openid-configuration":
            return {"issuer": self.url, "jwks_uri": f"{self.url}/keys"}
        return {"keys": [self.key.as_dict(private=False)]}


@contextmanager
def issuing() -> Iterator[Issuer]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = dumps(issuer.answer(self.path)).encode()
            self.send_response(200)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Nobody reads it."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        issuer = Issuer(f"http://127.0.0.1:{server.server_port}")
        thread = Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        try:
            yield issuer
        finally:
            server.shutdown()
            thread.join()


def example(folder: Path) -> Any:
    """`Oidc` as the page has it."""
    [code] = re.findall(r"```python\n# oidc\.py\n(.*?)```", PAGE.read_text(), re.DOTALL)
    file = folder / "oidc.py"
    file.write_text(code)
    return runpy.run_path(str(file))["Oidc"]


@in_loop
async def test_who_holds_a_token_of_the_issuer_is_let_in(tmp_path: Path, journal: Journal) -> None:
    oidc = example(tmp_path)
    worker = AppOn(MemoryStore(), workflows=[adding(journal)], world=SystemWorld())
    with issuing() as issuer:
        async with worker, asker(http.app(worker, auth=oidc(issuer.url, "cloche"))) as ask:

            async def status(token: str) -> int:
                return (await ask.get("/v1/me", headers={"Authorization": f"Bearer {token}"})).status_code

            me = await ask.get("/v1/me", headers={"Authorization": f"Bearer {issuer.token()}"})
            assert me.json() == {"id": "ann", "role": "operator", "tenant": "acme", "default_tenant": "acme"}
            other = RSAKey.generate_key(2048, {"kid": "1"}, private=True)
            wrong = [
                "no",
                issuer.token(key=other),
                issuer.token(iss="https://evil.example"),
                issuer.token(aud="another"),
                issuer.token(exp=int(time.time()) - 600),
                issuer.token(role="owner"),
                issuer.token(tenant=None),
                issuer.token()[:-8],
            ]
            assert [await status(token) for token in wrong] == [401] * len(wrong)
            assert (await ask.get("/v1/me")).status_code == 401
            assert issuer.asked == ["/.well-known/openid-configuration", "/keys"]  # once, and not for each request
