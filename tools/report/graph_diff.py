"""Two graphs side by side: how many of each operator, and the nodes line by line."""

from collections import Counter
from collections.abc import Iterator
from difflib import unified_diff
from typing import Any

import onnx_graphsurgeon as gs

from roofwright.graph import bodies, graphs_of, printable
from roofwright.tools.report.page import Page
from roofwright.tools.report.units import change

_LONGEST_VALUE = 60


def add_graph_diff(page: Page, before: gs.Graph, after: gs.Graph, *, lines: bool) -> None:
    """The table of operators; with `lines` a unified diff of the nodes, by the names of their values."""
    old, new = (Counter(node.op for inner in graphs_of(graph) for node in inner.nodes) for graph in (before, after))
    rows = [("operators", "before", "after", "change")]
    for op in sorted({*old, *new}, key=lambda op: (-abs(old[op] - new[op]), op)):
        rows.append((printable(op), str(old[op]), str(new[op]), change(old[op], new[op])))
    rows.append(("all", str(old.total()), str(new.total()), change(old.total(), new.total())))
    page.lines.append("")
    page.table(rows, "lrrr", header=True)
    if lines:
        page.heading("nodes")
        page.lines += unified_diff(list(_lines(before)), list(_lines(after)), "before", "after", n=1, lineterm="")


def _lines(root: gs.Graph) -> Iterator[str]:
    """`y = Conv(x, w) group=1`, node by node; bodies are indented."""
    waiting = [iter(root.nodes)]
    while waiting:
        indent = "  " * (len(waiting) - 1)
        node = next(waiting[-1], None)
        if node is None:
            waiting.pop()
            continue
        made = ", ".join(printable(tensor.name) for tensor in node.outputs if tensor.name)
        read = ", ".join(printable(tensor.name) for tensor in node.inputs)
        attrs = "".join(f" {printable(name)}={_value(value)}" for name, value in sorted(node.attrs.items()))
        yield f"{indent}{made} = {printable(node.op)}({read}){attrs}"
        waiting += [iter(body.nodes) for body in reversed(bodies(node))]


def _value(value: Any) -> str:
    if isinstance(value, gs.Graph):
        return "{...}"
    if isinstance(value, gs.Constant):
        return f"<{value.dtype}{list(value.shape)}>"
    text = printable(value)
    return text if len(text) <= _LONGEST_VALUE else text[: _LONGEST_VALUE - 3] + "..."
