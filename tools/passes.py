"""`roofwright passes [NAME]`: the passes in their default order, or what one of them does."""

from inspect import getdoc

from roofwright.passes import PASSES, build
from roofwright.tools.report.page import Page


def run(*, name: str | None) -> None:
    """Print the list, or the explanation of one pass.

    Raises:
        UsageError: no pass has that name.
    """
    page = Page()
    if name is None:
        rows = [(key, pass_.numerics, pass_.summary) for key, pass_ in PASSES.items()]
        page.table([("pass", "numerics", "what it does"), *rows], "lll", header=True)
    else:
        build([name])
        _explain(page, name)
    page.print()


def _explain(page: Page, name: str) -> None:
    chosen = PASSES[name]
    page.lines.append(f"{page.bold(name)} ({chosen.numerics}): {chosen.summary}")
    page.lines += ["", *(getdoc(chosen) or "").splitlines()]
    for rewrite in getattr(chosen, "rewrites", ()):
        page.heading(f"{rewrite.name} ({rewrite.numerics})")
        page.lines += (getdoc(rewrite) or "").splitlines()
