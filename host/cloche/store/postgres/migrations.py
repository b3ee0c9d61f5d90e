"""The versions of the schema: numbered files, each made in one transaction under one lock.

Schema n serves workers of version n and n - 1: it is expanded first, then the workers are replaced, and what the old ones
needed is removed by a later version. So `cloche migrate` comes before the new workers, and a worker refuses an older schema.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

import asyncpg

from cloche.errors import ForeignStore, StoreRefused, StoreUnavailable, UsageError
from cloche.store.postgres.address import Address
from cloche.store.postgres.connection import Connection, Server, connect
from cloche.store.postgres.faults import translated
from cloche.store.postgres.statements import SQL, in_schema

VERSION = 6
# The oldest version of a worker that may work with the schema of each version.
SERVES = {1: 1, 2: 1, 3: 1, 4: 1, 5: 1, 6: 1}
_LOCK = 0x636C6F636865  # "cloche": one migration at a time on a database
_ROLE = re.compile(r"[A-Za-z_][A-Za-z0-9_$]{0,62}")


async def migrate(address: Address, *, worker_role: str | None = None, prune_role: str | None = None) -> list[int]:
    """Make the schema, or bring it to this version; returns the versions that it went through. Grants to roles that are named.

    Raises:
        ForeignStore: it is of a newer version.
        StoreRefused: the role may not; nothing was changed.
        UsageError, StoreUnavailable: as `connect`; and a role has a name that is not one.
    """
    granted = list(_grants(worker_role, prune_role))
    connection = await connect(address, Server(is_pooled=True))
    try:
        with translated(address):
            async with connection.transaction():
                await connection.execute(f"SELECT pg_advisory_xact_lock({_LOCK})")
                version = await _version(address, connection)
                _refuse_newer(address, version)
                made = list(range((version or (0, 0))[0] + 1, VERSION + 1))
                is_there = await connection.fetchval("SELECT to_regnamespace($1) IS NOT NULL", f'"{address.schema}"')
                head = "" if is_there else f'CREATE SCHEMA "{address.schema}"'
                scripts = [script for script in (head, _script(made), *granted) if script]
                for script in scripts:
                    await connection.execute(in_schema(script, address.schema))
    except StoreRefused as error:
        raise StoreRefused(
            f"{error.message}. Run 'cloche migrate' as the role that owns the schema, or give it the right to create one",
            store=address.shown,
        ) from error
    finally:
        connection.terminate()
    return made


def printed(schema: str, *, worker_role: str | None = None, prune_role: str | None = None) -> str:
    """What `migrate` would do to a database without the schema, as SQL for `psql --single-transaction`."""
    grants = [in_schema(one, schema) for one in _grants(worker_role, prune_role)]
    head = f'CREATE SCHEMA IF NOT EXISTS "{schema}";\n'
    return "\n".join([head, in_schema(_script(range(1, VERSION + 1)), schema), *grants])


async def check_version(address: Address, connection: Connection) -> bool:
    """Whether there is a schema, and it is one that this version can work with.

    Raises:
        ForeignStore: it is of another version.
    """
    with translated(address):
        async with connection.transaction():
            version = await _version(address, connection)
    if version is None:
        return False
    _refuse_newer(address, version)
    if version[0] < VERSION:
        raise ForeignStore(
            f"the store {address.shown} is of version {version[0]}, and this cloche needs {VERSION}: "
            "run 'cloche migrate' on it (workers of the version before go on meanwhile)",
            store=address.shown,
        )
    return True


async def prepare(address: Address, server: Server, *, must_exist: bool) -> None:
    """Look whether the schema is there; make it if not.

    Raises:
        StoreUnavailable: it must exist, and does not.
        ForeignStore, StoreRefused: as `migrate`.
    """
    connection = await connect(address, server)
    try:
        is_there = await check_version(address, connection)
    finally:
        connection.terminate()
    if not is_there:
        if must_exist:
            raise StoreUnavailable(
                f"there is no store at {address.shown}: name another with --store", store=address.shown
            )
        await migrate(address)


async def _version(address: Address, connection: Connection) -> tuple[int, int] | None:
    """Its version and the oldest worker's that it serves; None if there is none."""
    name = f'"{address.schema}".meta'
    if await connection.fetchval("SELECT to_regclass($1)::text", name) is None:
        return None
    try:
        row = await connection.fetchrow(f"SELECT version, serves FROM {name}")
    except asyncpg.UndefinedColumnError:
        row = None
    if row is None:
        text = f"the schema '{address.schema}' of {address.shown} is not one of cloche: name another with schema="
        raise ForeignStore(text, store=address.shown)
    return row["version"], row["serves"]


def _refuse_newer(address: Address, version: tuple[int, int] | None) -> None:
    if version is not None and version[1] > VERSION:
        raise ForeignStore(
            f"the store {address.shown} was migrated by a newer cloche (version {version[0]}, this one knows {VERSION}): "
            "upgrade cloche to open it",
            store=address.shown,
        )


def _script(versions: Sequence[int]) -> str:
    if not versions:
        return ""
    text = "\n".join((SQL / "migrations" / f"{number:04}.sql").read_text("utf-8") for number in versions)
    end = versions[-1]
    return text + (
        f"\nINSERT INTO cloche.meta (version, serves) VALUES ({end}, {SERVES[end]})\n"
        "ON CONFLICT (is_only) DO UPDATE SET version = excluded.version, serves = excluded.serves;\n"
    )


def _grants(worker_role: str | None, prune_role: str | None) -> Iterator[str]:
    for role, file in ((worker_role, "grants_worker.sql"), (prune_role, "grants_prune.sql")):
        if role is not None:
            if not _ROLE.fullmatch(role):
                raise UsageError(f"'{role}' is not the name of a role: letters, digits and '_'")
            yield (SQL / file).read_text("utf-8").replace("{role}", f'"{role}"')
