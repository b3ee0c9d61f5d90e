"""Which addresses a webhook may be sent to. A tenant names the URL: it must lead to nothing that only this machine can reach.

A name is resolved once, what it leads to is checked, and that very address is connected to: a name that leads elsewhere the
next time gains nothing. Redirects are answers like any other, and are not followed; proxies of the environment are not used.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import socket
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from urllib.parse import urlsplit

__all__ = ["Answer", "Reach", "Unreachable", "is_public", "post"]

HEAD_BYTES_MAX = 64 << 10
_EMBEDDED = {  # networks whose addresses lead to an IPv4 address, and where in the 128 bits that stands
    ipaddress.IPv6Network("64:ff9b::/96"): 0,
    ipaddress.IPv6Network("::/96"): 0,
    ipaddress.IPv6Network("2002::/16"): 80,
}


_TRANSLATED = ipaddress.IPv6Network("64:ff9b:1::/48")  # to IPv4, as whoever runs the network likes (RFC 8215)


class Unreachable(Exception):
    """Nobody answered. Its text says why. `is_sent`: the request may have arrived; else nothing of it was sent."""

    def __init__(self, text: str, *, is_sent: bool = False) -> None:
        super().__init__(text)
        self.is_sent = is_sent


@dataclass(frozen=True, slots=True)
class Reach:
    """`hosts`: those alone, where there are any; `.example.com` are all below it. `loopback`: this machine too, for tests."""

    hosts: tuple[str, ...] = ()
    loopback: bool = False

    def check_host(self, host: str) -> None:
        """
        Raises:
            Unreachable: it is not on the list.
        """
        listed = any(host == one or (one.startswith(".") and host.endswith(one)) for one in self.hosts)
        if self.hosts and not listed:
            raise Unreachable(f"{host} is not on the list of hosts that webhooks are sent to")

    def check_address(self, address: str) -> None:
        """
        Raises:
            Unreachable: it is not a public one.
        """
        ip = ipaddress.ip_address(address.partition("%")[0])
        if not (is_public(ip) or (self.loopback and ip.is_loopback)):
            raise Unreachable(f"{address} is no public address")


def is_public(ip: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    """Whether an address is one of the open network, also where it only stands for an IPv4 address."""
    if isinstance(ip, ipaddress.IPv6Address):
        if ip.ipv4_mapped is not None:
            return is_public(ip.ipv4_mapped)
        for network, shift in _EMBEDDED.items():
            if ip in network:
                return is_public(ipaddress.IPv4Address((int(ip) >> shift) & 0xFFFFFFFF))
        if ip in _TRANSLATED or ip.teredo is not None:
            return False
    return ip.is_global and not ip.is_multicast and not ip.is_reserved


@dataclass(frozen=True, slots=True)
class Answer:
    """`retry_after_s` is what the header says, 0 where there is none. `body` None: it was larger than it may be."""

    status: int
    retry_after_s: int = 0
    body: bytes | None = b""


@dataclass(slots=True)
class _Request:
    url: str
    headers: Mapping[str, str]
    body: bytes
    answer_bytes_max: int
    is_sent: bool = False


async def post(
    reach: Reach, url: str, headers: Mapping[str, str], body: bytes, timeout_s: float, *, answer_bytes_max: int = 0
) -> Answer:
    """Send a POST request, and take the head of the answer. Its body is read if it may have `answer_bytes_max` bytes.

    Raises:
        Unreachable: the URL leads where nothing is sent to, or nobody there has answered in time.
    """
    request = _Request(url, headers, body, answer_bytes_max)
    try:
        async with asyncio.timeout(timeout_s):
            return await _post(reach, request)
    except TimeoutError:
        raise Unreachable(f"there was no answer within {timeout_s:g} s", is_sent=request.is_sent) from None
    except (OSError, EOFError, ValueError, asyncio.LimitOverrunError) as error:
        raise Unreachable(f"{type(error).__name__}: {error}", is_sent=request.is_sent) from error


async def _post(reach: Reach, request: _Request) -> Answer:
    url, headers, body = request.url, request.headers, request.body
    parts = urlsplit(url)
    host, is_tls = parts.hostname or "", parts.scheme == "https"
    port = parts.port or (443 if is_tls else 80)
    reach.check_host(host)
    address = await _resolved(reach, host, port)
    if not (is_tls or ipaddress.ip_address(address).is_loopback):
        raise Unreachable("nothing is sent without TLS")
    tls = {"ssl": _tls(), "server_hostname": host} if is_tls else {}
    reader, writer = await asyncio.open_connection(address, port, limit=HEAD_BYTES_MAX, **tls)  # type: ignore[arg-type]
    try:
        place = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        sent = {"Host": parts.netloc, "Content-Length": str(len(body)), "Connection": "close", **headers}
        head = [f"POST {place} HTTP/1.1", *(f"{name}: {value}" for name, value in sent.items()), "", ""]
        data = "\r\n".join(head).encode("ascii") + body
        request.is_sent = True
        writer.write(data)
        await writer.drain()
        if request.answer_bytes_max:
            return await _whole(reader, request.answer_bytes_max)
        while True:
            answer = _answer(await reader.readuntil(b"\r\n\r\n"))
            if answer.status >= 200:
                return answer
    finally:
        writer.transport.abort()  # nothing more is wanted of it, and nobody waits for a peer to agree
        with contextlib.suppress(Exception):
            await writer.wait_closed()


async def _resolved(reach: Reach, host: str, port: int) -> str:
    """The first address of a name. If any of them is not public, none is taken: whoever has the name plays games."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    addresses = [str(one[4][0]) for one in found]
    for address in addresses:
        reach.check_address(address)
    return addresses[0]


async def _whole(reader: asyncio.StreamReader, bytes_max: int) -> Answer:
    from cloche.operations.http_answers import AnswerRefused, read_answer

    try:
        status, fields, body = await read_answer(reader, bytes_max)
    except AnswerRefused as error:
        raise Unreachable(str(error), is_sent=True) from None
    return Answer(status, _retry_after(fields.get("retry-after", "")), body)


def _retry_after(text: str) -> int:
    return int(text) if text.isdecimal() and len(text) < 7 else 0


def _answer(head: bytes) -> Answer:
    first, *lines = head.decode("latin-1").split("\r\n")
    version, _, rest = first.partition(" ")
    if not version.startswith("HTTP/1.") or not rest[:3].isdecimal():
        raise Unreachable("what answered does not speak HTTP")
    fields = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    return Answer(int(rest[:3]), _retry_after(fields.get("retry-after", "")))


@cache
def _tls() -> ssl.SSLContext:
    return ssl.create_default_context()
