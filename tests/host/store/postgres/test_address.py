"""What a URL says, and what may be printed of it."""

from __future__ import annotations

import pytest

from cloche.errors import UsageError
from cloche.store.postgres.address import Address


def test_a_url_names_server_database_and_schema() -> None:
    address = Address.parse("postgresql://app@db.example:6543/shop?schema=orders&sslmode=require")
    assert (address.dsn, address.schema) == ("postgresql://app@db.example:6543/shop?sslmode=require", "orders")
    assert (address.accepts, address.demands_tls) == (frozenset(), True)
    assert Address.parse("postgres://db/shop").schema == "cloche"


def test_no_secret_is_shown() -> None:
    address = Address.parse("postgresql://app:s%40cret@db/shop?password=other&sslpassword=third")
    assert address.shown == "postgresql://app@db/shop"
    assert all(secret in address.dsn for secret in ("s%40cr", "other", "third"))
    assert all(secret not in repr(address) for secret in ("s%40cr", "other", "third"))


def test_what_is_shown_opens_the_same_store() -> None:
    url = "postgresql://app@db/shop?schema=orders&accept=standby,fsync-off"
    assert Address.parse(Address.parse(url).shown) == Address.parse(url)


def test_of_several_hosts_the_primary_is_wanted() -> None:
    assert Address.parse("postgresql://app@one:1,two:2/shop").dsn.endswith("?target_session_attrs=read-write")
    assert "target_session_attrs" not in Address.parse("postgresql://app@one:1,two:2/shop?accept=standby").dsn


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("mysql://app:hidden@db/shop", "is not one of PostgreSQL: give postgresql://USER@HOST"),
        ("postgresql://app:hid#den@db/shop", "in a password '#' is %23"),
        ("postgresql://app:hidden@db:port/shop", "cannot be read: give postgresql://USER@HOST"),
        ("postgresql://app:hidden@[::1/shop", "cannot be read: give postgresql://USER@HOST"),
        ("postgresql://app:hidden@db/shop?schmea=orders", "a parameter that is not known: schmea"),
        ("postgresql://app:hidden@db/shop?schema=Orders;", "schema= takes the name of a schema"),
        (
            "postgresql://app:hidden@db/shop?accept=anything",
            "accept= takes async-commit, fsync-off, standby; not anything",
        ),
    ],
)
def test_a_wrong_url_is_refused_without_its_secret(url: str, said: str) -> None:
    with pytest.raises(UsageError) as refused:
        Address.parse(url)
    assert said in str(refused.value)
    assert "hid" not in str(refused.value)
    assert refused.value.__cause__ is None
    assert refused.value.__suppress_context__ or refused.value.__context__ is None
