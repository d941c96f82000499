"""A pass of one's own, alone on a graph and in a pipeline; run it with `python examples/own_pass.py`."""

from dataclasses import dataclass
from typing import ClassVar, Self

import onnx.parser
import onnx_graphsurgeon as gs

import roofwright
from roofwright.graph import Edit, View, read
from roofwright.passes import PASSES, Context, Decline, LocalPass, Numerics, Rewrite

MODEL = """
<ir_version: 8, opset_import: ["" : 17]>
agraph (float[4] x) => (float[4] y, float[4] z) {
  a = Neg(x)  b = Neg(a)  y = Relu(b)
  c = Neg(y)  z = Neg(c)
}
"""


@dataclass(frozen=True)
class DropDoubleNeg(Rewrite):
    """`y = Neg(Neg(x))` --> `y = x`."""

    name: ClassVar[str] = "drop-double-neg"
    anchors: ClassVar[tuple[str, ...]] = ("Neg",)
    numerics: ClassVar[Numerics] = "exact"
    node: gs.Node
    source: gs.Tensor

    @classmethod
    def match(cls, node: gs.Node, view: View) -> Self | None:
        """A Neg of a Neg."""
        inner = view.producer(node.inputs[0])
        if not view.is_op(inner, "Neg"):
            return None
        source = node.inputs[0].inputs[0].inputs[0]
        if not view.can_bypass(node, source):
            raise Decline("its result and its source are both outputs or inputs of the graph, and keep their names")
        return cls(node, source)

    def apply(self, edit: Edit) -> None:
        """Readers of y read x; the inner Neg goes with the dead code, if nobody else reads it."""
        edit.bypass(self.node, self.source)


@dataclass(frozen=True)
class DropNegs(LocalPass):
    """`y = Neg(Neg(x))` --> `y = x`. Declines when x and y are both inputs or outputs of the graph. Numerics: exact."""

    name: ClassVar[str] = "drop-negs"
    summary: ClassVar[str] = "remove double negation"
    rewrites: ClassVar[tuple[type[Rewrite], ...]] = (DropDoubleNeg,)


def main() -> None:
    """Run the pass alone, then as the first of the whole pipeline."""
    proto = onnx.parser.parse_model(MODEL)
    graph = read(proto)
    result = DropNegs().run(graph, Context())
    for record in result.records:
        print(f"{record.rewrite} at {record.anchor}: {'applied' if record.applied else record.reason}")
    optimized, report = roofwright.optimize(proto, target="tpuv2", passes=[DropNegs(), *PASSES])
    print("in a pipeline:", " ".join(node.op_type for node in optimized.graph.node), f"(check {report.check.status})")


if __name__ == "__main__":
    main()
