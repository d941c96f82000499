"""`roofwright passes [NAME]`: the passes in their default order, or what one of them does."""

from inspect import getdoc

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from roofwright.passes import PASSES, build


def run(*, name: str | None) -> None:
    """Print the list, or the explanation of one pass.

    Raises:
        UsageError: no pass has that name.
    """
    console = Console(highlight=False, soft_wrap=True)
    if name is None:
        table = Table("pass", "numerics", "what it does", box=None, pad_edge=False)
        for key, pass_ in PASSES.items():
            table.add_row(key, pass_.numerics, pass_.summary)
        console.print(table)
        return
    build([name])
    chosen = PASSES[name]
    console.print(f"[bold]{name}[/bold] ({chosen.numerics}): {escape(chosen.summary)}\n")
    console.print(escape(getdoc(chosen) or ""))
    for rewrite in getattr(chosen, "rewrites", ()):
        console.print(f"\n[bold]{rewrite.name}[/bold] ({rewrite.numerics})\n{escape(getdoc(rewrite) or '')}")
