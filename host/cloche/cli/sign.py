"""The command that signs heads."""

from __future__ import annotations

import os
from pathlib import Path

import click

from cloche.cli.base import command, look, own_store_option, read_file


@command
@click.option("--key", metavar="FILE", help="The private key, as PEM.")
@click.option("-o", "--output", metavar="FILE", help="Where to write the signed heads.")
@click.option("--new-key", metavar="FILE", help="Make a key there, and the public one in FILE.pub; nothing is signed.")
@own_store_option
def sign(key: str | None, output: str | None, new_key: str | None, store: str, as_json: bool) -> None:
    """Sign the heads of all runs: kept elsewhere, they tell a history that was rewritten or put back.

    'cloche verify --heads FILE --public-key FILE' compares.

    \b
    Example:
      cloche sign --key sign.pem -o heads.cbor --store orders.db
    """
    from cloche.cli.output import print_json
    from cloche.errors import UsageError
    from cloche.operations import signing
    from cloche.operations.stores import now

    if new_key is not None:
        private, public = signing.new_key()
        _write_new(Path(new_key), private, 0o600)
        _write_new(Path(f"{new_key}.pub"), public, 0o644)
        print_json({"key": new_key, "public_key": f"{new_key}.pub"}) if as_json else click.echo(
            f"{new_key} is the key: keep it away from the store; {new_key}.pub verifies"
        )
        return
    if key is None or output is None:
        raise UsageError("name the key with --key and the file to write with -o (or make a key with --new-key FILE)")
    private_key = read_file(key, "the key")
    data = look(store, lambda found: signing.sign_heads(found, private_key, now()))
    part = Path(f"{output}.part")
    part.write_bytes(data)
    os.replace(part, output)
    print_json({"file": output, "bytes": len(data)}) if as_json else click.echo(f"{output}: {len(data):,} bytes")


def _write_new(file: Path, data: bytes, mode: int) -> None:
    from cloche.errors import UsageError

    try:
        handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    except FileExistsError as error:
        raise UsageError(f"{file} is there already: keys are not overwritten") from error
    with os.fdopen(handle, "wb") as out:
        out.write(data)
