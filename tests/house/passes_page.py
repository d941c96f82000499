"""docs/passes.md, made of the docstrings of the passes."""

from inspect import getdoc

from roofwright.passes import PASSES

_HEAD = """# The passes

In their default order. `roofwright passes NAME` prints the same; `--passes A,B` runs exactly those, `--skip-passes A,B`
leaves some out. *Numerics* is the most that a pass changes results: `exact` not at all, `rounding` reassociates sums,
`approx` changes the function and runs on request only.

This page is made of the docstrings: `pytest --update-golden tests/house/test_docs.py` writes it.
"""


def page() -> str:
    """The whole page."""
    parts = [_HEAD]
    for name, pass_ in PASSES.items():
        text = "\n".join(line.rstrip() for line in (getdoc(pass_) or "").splitlines())
        when = ", on request (`--enable-pass`)" if pass_.on_request else ""
        parts.append(f"## {name}\n\n*{pass_.numerics}*{when}: {pass_.summary}.\n\n{text}\n")
        parts += [f"- `{rewrite.name}` ({rewrite.numerics})" for rewrite in getattr(pass_, "rewrites", ())]
        if getattr(pass_, "rewrites", ()):
            parts.append("")
    return "\n".join(parts).rstrip() + "\n"
