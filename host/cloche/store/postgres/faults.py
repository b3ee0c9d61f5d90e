"""What the driver and the server raise, in our terms. No message holds a secret: the URL is shown without its password."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Iterator
from contextlib import contextmanager

import asyncpg

from cloche.errors import DamagedStore, StoreError, StoreFull, StoreRefused, StoreUnavailable, UsageError
from cloche.store.postgres.address import Address

# A statement that ends so was rolled back, and may be made again at once: deadlock, serialization, lock not available.
AGAIN = ("40P01", "40001", "55P03")
_FULL = "53100"
_DAMAGED = ("XX001", "XX002")
_READ_ONLY = "25006"
_NO_RIGHT = "42501"
_APPEND_ONLY = "CL001"
# At connecting: what stays wrong until a person changes it, by code of the server.
_REFUSED = {
    "28P01": "the user name or the password is wrong",
    "28000": "the server does not let this user in from here, or not without TLS",
    "3D000": "there is no such database: create it",
    _NO_RIGHT: "the role may not use the database: grant it CONNECT",
}
_LOST = (
    OSError,
    asyncio.TimeoutError,
    asyncpg.InterfaceError,
    asyncpg.PostgresConnectionError,
    asyncpg.InternalClientError,  # the driver's word for a connection that the server ended while it rested
)


def is_lost(error: BaseException) -> bool:
    """Whether the connection ended, so that it is not known what became of the statement."""
    return isinstance(error, _LOST) or (isinstance(error, asyncpg.PostgresError) and _code(error)[:3] in ("57P", "08P"))


@contextmanager
def translated(address: Address) -> Iterator[None]:
    """
    Raises:
        StoreUnavailable, StoreFull, StoreRefused, DamagedStore: for what the driver raised.
    """
    try:
        yield
    except asyncpg.PostgresError as error:
        raise _of_server(error, address) from error
    except _LOST as error:
        raise StoreUnavailable(f"{_name(address)} did not answer: {_said(error)}", store=address.shown) from error


@contextmanager
def translated_at_connecting(address: Address) -> Iterator[None]:
    """
    Raises:
        StoreRefused: the server does not let us in, and will not until something is changed.
        StoreUnavailable: it is not there, or takes nobody now.
        UsageError: the URL has a parameter that the driver does not take.
    """
    try:
        yield
    except asyncpg.PostgresError as error:
        if what := _REFUSED.get(_code(error)):
            raise _refused(address, f"{what} ({error.args[0]})") from error
        raise StoreUnavailable(f"{_name(address)} takes nobody now: {error.args[0]}", store=address.shown) from error
    except (asyncpg.exceptions.ClientConfigurationError, ValueError) as error:
        raise UsageError(f"the URL of the store is not right: {_said(error)}") from error
    except FileNotFoundError as error:
        if any(name in address.dsn for name in ("sslrootcert", "sslcert", "sslkey", "sslcrl")):
            raise UsageError(f"a file of TLS that the URL of the store names is not there: {_said(error)}") from error
        raise _not_there(address, error) from error
    except ssl.SSLError as error:
        raise _refused(address, f"there is no TLS with it that the URL accepts: {error}") from error
    except ConnectionError as error:
        if address.demands_tls and "SSL" in str(error):
            raise _refused(
                address, "the URL demands TLS (sslmode), and the server has none: switch ssl on there"
            ) from error
        raise _not_there(address, error) from error
    except (*_LOST, asyncpg.exceptions.TargetServerAttributeNotMatched) as error:
        raise _not_there(address, error) from error


def _refused(address: Address, why: str) -> StoreRefused:
    return StoreRefused(f"{_name(address)}: {why}", store=address.shown)


def _not_there(address: Address, error: BaseException) -> StoreUnavailable:
    return StoreUnavailable(f"{_name(address)} cannot be reached: {_said(error)}", store=address.shown)


def _of_server(error: asyncpg.PostgresError, address: Address) -> StoreError:
    code, said = _code(error), error.args[0]
    if code == _FULL:
        text = f"the disk of {_name(address)} is full: make room; runs wait and go on by themselves"
        return StoreFull(text, store=address.shown)
    if code in _DAMAGED:
        return DamagedStore(f"{_name(address)} is damaged ({said}): restore it from its backup", store=address.shown)
    if code == _NO_RIGHT:
        return _refused(address, f"the role lacks a right ({said}): 'cloche migrate' grants what is needed")
    if code == _READ_ONLY:
        text = f"{_name(address)} takes nothing, for it is a standby or read-only: give the address of the primary"
        return StoreUnavailable(text, store=address.shown)
    if code == _APPEND_ONLY:
        return _refused(address, said)
    return StoreUnavailable(f"{_name(address)} did not take or give data: {said} [{code}]", store=address.shown)


def _name(address: Address) -> str:
    return f"the store {address.shown}"


def _said(error: BaseException) -> str:
    return str(error) or type(error).__name__


def _code(error: asyncpg.PostgresError) -> str:
    return getattr(error, "sqlstate", None) or ""
