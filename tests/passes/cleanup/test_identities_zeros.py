import pytest

from roofwright.graph import View, read
from roofwright.passes.cleanup.zeros import is_zeros
from tests.passes.harness import build, int64


@pytest.mark.parametrize(("steps", "expected"), [(3, True), (70, False)])
def test_zeros_are_not_followed_for_ever(steps: int, expected: bool) -> None:
    nodes = " ".join(f"z{i + 1} = Identity(z{i})" for i in range(steps))
    graph = read(
        build(
            f"(float[2] x) => (float[2] y) {{ z0 = ConstantOfShape(s) {nodes} y = Add(x, z{steps}) }}",
            {"s": int64([2])},
        )
    )
    assert is_zeros(graph.nodes[-1].inputs[1], View(graph)) is expected
