"""The command that compiles the guests before anybody waits for them."""

from __future__ import annotations

from dataclasses import asdict

import click

from cloche.cli.base import command


@command
def warm(as_json: bool) -> None:
    """Compile the guests once, so that the first run of this machine does not wait for it.

    They are kept in the user's cache (CLOCHE_CACHE); each version of cloche compiles its own.

    \b
    Example:
      cloche warm
    """
    from cloche.cli.output import print_json
    from cloche.operations.warm import warm as warm_guests

    for guest in warm_guests(lambda line: click.echo(line, err=True)):
        if as_json:
            print_json(asdict(guest))
        elif guest.digest is None:
            click.echo(f"· {guest.language} guest: not installed; workflows for it need cloche[{guest.language}]")
        elif guest.seconds:
            click.echo(f"✓ {guest.language} guest: compiled in {guest.seconds:.1f} s")
        else:
            click.echo(f"✓ {guest.language} guest: compiled already")
