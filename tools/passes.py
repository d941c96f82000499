"""`roofwright passes [NAME]`: the passes in their default order, or what one of them does."""

import json
import sys
from inspect import getdoc
from typing import Any

from roofwright.passes import PASSES, build
from roofwright.tools.report.page import Page


def run(*, name: str | None, as_json: bool = False) -> None:
    """Print the list, or the explanation of one pass.

    Raises:
        UsageError: no pass has that name.
    """
    if name is not None:
        build([name])
    if as_json:
        found: Any = [_facts(each) for each in PASSES] if name is None else _facts(name)
        sys.stdout.write(json.dumps(found, indent=1) + "\n")
        return
    page = Page()
    if name is None:
        rows = [(key, pass_.numerics, f"{_when(pass_)}{pass_.summary}") for key, pass_ in PASSES.items()]
        page.table([("pass", "numerics", "what it does"), *rows], "lll", header=True)
    else:
        _explain(page, name)
    page.print()


def _when(pass_: Any) -> str:
    return "on request (--enable-pass): " if pass_.on_request else ""


def _facts(name: str) -> dict[str, Any]:
    chosen = PASSES[name]
    rewrites = getattr(chosen, "rewrites", ())
    return {
        "name": name,
        "numerics": chosen.numerics,
        "schedules": chosen.schedules,
        "on_request": chosen.on_request,
        "summary": chosen.summary,
        "rewrites": [
            {"name": each.name, "numerics": each.numerics, "anchors": list(each.anchors)} for each in rewrites
        ],
    }


def _explain(page: Page, name: str) -> None:
    chosen = PASSES[name]
    page.lines.append(f"{page.bold(name)} ({chosen.numerics}): {_when(chosen)}{chosen.summary}")
    page.lines += ["", *(getdoc(chosen) or "").splitlines()]
    for rewrite in getattr(chosen, "rewrites", ()):
        page.heading(f"{rewrite.name} ({rewrite.numerics})")
        page.lines += (getdoc(rewrite) or "").splitlines()
