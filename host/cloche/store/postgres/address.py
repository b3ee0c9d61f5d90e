"""What a URL of PostgreSQL says: where the server is, in which schema the store lies, and what is accepted of the server."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from cloche.errors import UsageError

DEFAULT_SCHEMA = "cloche"
# What a server may be only where it was asked for by name: what is acknowledged on it may be lost, or it takes nothing.
FSYNC_OFF, ASYNC_COMMIT, STANDBY = "fsync-off", "async-commit", "standby"
ACCEPTABLE = frozenset({FSYNC_OFF, ASYNC_COMMIT, STANDBY})
FORM = "postgresql://USER@HOST[:PORT]/DATABASE"

_SCHEMA = re.compile(r"[a-z_][a-z0-9_]{0,62}")
# What the driver knows of the parameters of libpq. Others would be sent to the server as settings.
_PASSED_ON = frozenset(
    {
        "host",
        "port",
        "user",
        "password",
        "passfile",
        "database",
        "dbname",
        "target_session_attrs",
        "krbsrvname",
        "gsslib",
    }
    | {"sslmode", "sslcert", "sslkey", "sslrootcert", "sslcrl", "sslpassword", "sslnegotiation"}
    | {"ssl_min_protocol_version", "ssl_max_protocol_version"}
)
_SECRET = frozenset({"password", "sslpassword"})


@dataclass(frozen=True, slots=True)
class Address:
    """`dsn` is for the driver and may hold a password; `shown` may be printed, and opens the same store where the password
    comes from elsewhere (PGPASSWORD, ~/.pgpass)."""

    dsn: str = field(repr=False)
    schema: str
    accepts: frozenset[str]
    shown: str
    demands_tls: bool = False

    @classmethod
    def parse(cls, url: str) -> Address:
        """
        Raises:
            UsageError: the URL is not one of a store; the message says what is wrong, without a secret of it.
        """
        try:
            parts = urlsplit(url)
            given = parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query))
            _ = parts.port if "," not in parts.netloc else None
        except ValueError:
            text = f"the URL of the store cannot be read: give {FORM} (in a password '#' is %23, '/' is %2F)"
            raise UsageError(text) from None
        if parts.scheme not in ("postgresql", "postgres") or parts.fragment:
            raise UsageError(f"the URL of the store is not one of PostgreSQL: give {FORM}")
        if unknown := sorted({name for name, _ in given} - _PASSED_ON - {"schema", "accept"}):
            raise UsageError(f"the URL of the store has a parameter that is not known: {', '.join(unknown)}")
        values = dict(given)
        accepts = frozenset(filter(None, values.pop("accept", "").split(",")))
        if not accepts <= ACCEPTABLE:
            raise UsageError(
                f"accept= takes {', '.join(sorted(ACCEPTABLE))}; not {', '.join(sorted(accepts - ACCEPTABLE))}"
            )
        schema = values.pop("schema", DEFAULT_SCHEMA)
        if not _SCHEMA.fullmatch(schema):
            raise UsageError("schema= takes the name of a schema: small letters, digits and '_'")
        if "," in parts.netloc and STANDBY not in accepts:
            values.setdefault("target_session_attrs", "read-write")  # of several hosts the one that is no standby
        shown = [(name, value) for name, value in given if name not in _SECRET]
        return cls(
            dsn=urlunsplit(("postgresql", parts.netloc, parts.path, urlencode(values), "")),
            schema=schema,
            accepts=accepts,
            shown=urlunsplit(
                ("postgresql", _without_password(parts.netloc), parts.path, urlencode(shown, safe=",/"), "")
            ),
            demands_tls=values.get("sslmode") in ("require", "verify-ca", "verify-full"),
        )


def _without_password(netloc: str) -> str:
    user, at, hosts = netloc.rpartition("@")
    return f"{user.partition(':')[0]}{at}{hosts}"
