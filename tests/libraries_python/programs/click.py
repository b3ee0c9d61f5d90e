import click
from click.testing import CliRunner


@click.command()
@click.argument("name")
@click.option("--count", default=1, show_default=True, type=click.IntRange(1))
def hello(name, count):
    """Greet."""
    for _ in range(count):
        click.echo(f"hello {name}")


def program():
    context = click.Context(hello, info_name="hello", terminal_width=70)
    seen = []
    try:
        hello.main(["x", "--count", "0"], standalone_mode=False)
    except click.UsageError as error:
        seen.append(error.format_message())
    return [hello.get_help(context), seen, [p.name for p in hello.params], CliRunner.__name__]
