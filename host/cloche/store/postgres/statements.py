"""The SQL of the store: texts in which `cloche` is the schema. They lie in `sql/`, or stand beside the code that uses them."""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path

SQL = Path(__file__).with_name("sql")
_SCHEMA = re.compile(r"\bcloche\.|(?<=SCHEMA )cloche\b")

ROW = "tenant, run, workflow, code, status, wake_at, created_at, updated_at, head_seq, head_hash, problem, owner, fence"
# As the indexes runs_due and runs_free_of_tenant have it.
FREE = "owner IS NULL AND (status IN ('running', 'pending') OR (status = 'waiting' AND wake_at IS NOT NULL))"
# Of a row of `runs`: no operator holds it back. Where nothing is held, which is nearly always, that is one look.
NOT_HELD = (
    "(NOT EXISTS (SELECT FROM cloche.holds) OR NOT EXISTS "
    "(SELECT FROM cloche.holds WHERE holds.tenant = runs.tenant AND holds.code IN ('', runs.code)))"
)
# In which the numbers of transactions are what they were: see `0002.sql`. NULL until somebody gives it a name.
EPOCH = "(SELECT extract(epoch FROM pg_postmaster_start_time()) || ' ' || id FROM cloche.epoch) AS epoch"
EPOCH_OF_STANDBY = "extract(epoch FROM pg_postmaster_start_time())::text AS epoch"  # it has no unlogged tables
RECORD = 5  # fields of a record that carries what it says
FEW_RECORDS = 4  # a turn that goes from one step to the next has three
XID_NOW = "pg_current_xact_id()::text::bigint"
XID = f"{XID_NOW} AS xid"  # the number of the transaction, for those that tell own writes from others'


@lru_cache(maxsize=4096)
def in_schema(sql: str, schema: str) -> str:
    """`sql` with the name of the schema in place of `cloche`."""
    return _SCHEMA.sub(lambda found: f'"{schema}"' + "." * found[0].endswith("."), sql)


@lru_cache
def statement(name: str) -> str:
    """A text of `sql/statements/`; `{row}` in it is `ROW`, `{epoch}` is `EPOCH`, `{not_held}` is `NOT_HELD`."""
    text = (SQL / "statements" / f"{name}.sql").read_text("utf-8")
    return text.replace("{row}", ROW).replace("{epoch}", EPOCH).replace("{not_held}", NOT_HELD)


@lru_cache
def advance_one(records: int) -> str:
    """One append of so many records: a scalar for each of their fields, or an array where there are more than a turn has."""
    columns = ("bigint", "smallint", "bytea", "bytea", "bytea")
    first = 23
    rows = []
    for row in range(records):
        fields = enumerate(columns, first + RECORD * row)
        rows.append(f"({', '.join(f'${number}::{column}' for number, column in fields)})")
    many = "unnest($23::bigint[], $24::smallint[], $25::bytea[], $26::bytea[], $27::bytea[])"
    values = many if records > FEW_RECORDS else f"(VALUES {', '.join(rows)})"
    return statement("advance_one").replace("{records}", values)
