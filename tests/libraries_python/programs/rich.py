import io

from rich.console import Console
from rich.markdown import Markdown
from rich.table import Table
from rich.tree import Tree


def program():
    out = io.StringIO()
    console = Console(file=out, width=60, color_system=None, legacy_windows=False, force_terminal=False)
    table = Table(title="orders")
    table.add_column("sku")
    table.add_column("n", justify="right")
    table.add_row("a", "12")
    console.print(table)
    tree = Tree("root")
    tree.add("leaf").add("[bold]deep[/bold]")
    console.print(tree)
    console.print(Markdown("# Title\n\n* one\n* two"))
    return out.getvalue()
