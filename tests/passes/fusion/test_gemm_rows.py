import pytest

from roofwright.graph import read
from roofwright.passes.base import Context
from roofwright.passes.fusion import FuseGemm
from roofwright.targets import load_target
from tests.passes.harness import PLACES, Array, Case, build, check, float32, int32, int64, random, run_pass

W, B = random(3, 4), random(4, seed=1)
PORTS = "(float[2,10,3] x) => (float[5,4,4] y)"


def biased(
    name: str,
    after: str | None = "Gemm Reshape Reshape",
    product: str = "c = MatMul(r, w) a = Add(c, b)",
    ports: str = PORTS,
    **arrays: Array,
) -> Case:
    """A product with a bias between two Reshapes that part other axes than they join."""
    held = {"w": W, "b": B, "to": int64([5, 4, 3]), "back": int64([5, 4, 4]), **arrays}
    text = f"{ports} {{ r = Reshape(x, to) {product} y = Reshape(a, back) }}"
    return Case(name, text, after, arrays=held, exact=False)


CASES = [
    Case(
        "between Reshapes",
        '(float["n",5,3] x) => (float["n",5,4] y) { r = Reshape(x, rows) g = Gemm<transB = 1>(r, w)'
        " y = Reshape(g, back) }",
        "MatMul",
        arrays={"w": random(4, 3), "rows": int64([-1, 3]), "back": int64([-1, 5, 4])},
        exact=False,
    ),
    Case(
        "MatMul between Reshapes",
        "(float[2,5,3] x) => (float[2,5,4] y) { r = Reshape(x, rows) g = MatMul(r, w) y = Reshape(g, back) }",
        "MatMul",
        arrays={"w": W, "rows": int64([10, 3]), "back": int64([2, 5, 4])},
        exact=False,
    ),
    Case(
        "Reshapes that part other axes",
        "(float[2,5,3] x) => (float[5,2,4] y) { r = Reshape(x, rows) g = MatMul(r, w) y = Reshape(g, back) }",
        arrays={"w": W, "rows": int64([10, 3]), "back": int64([5, 2, 4])},
    ),
    Case(
        "between Reshapes, read twice",
        "(float[2,5,3] x) => (float[2,5,4] y, float[10,3] z) { r = Reshape(x, rows) g = MatMul(r, w)"
        " y = Reshape(g, back) z = Neg(r) }",
        None,
        "also read by",
        arrays={"w": W, "rows": int64([10, 3]), "back": int64([2, 5, 4])},
    ),
    Case(
        "between Reshapes, a bias without a price",
        "(float[2,5,3] x) => (float[2,5,4] y) { r = Reshape(x, rows) g = Gemm(r, w, b) y = Reshape(g, back) }",
        None,
        "only where a target prices it",
        arrays={"w": W, "b": B, "rows": int64([10, 3]), "back": int64([2, 5, 4])},
    ),
    Case(
        "between Reshapes, a bias that costs a pass",
        "(float[2,5,3] x) => (float[2,5,4] y) { r = Reshape(x, rows) g = Gemm(r, w, b) y = Reshape(g, back) }",
        None,
        "as a loss",
        arrays={"w": W, "b": B, "rows": int64([10, 3]), "back": int64([2, 5, 4])},
        context={"target": load_target("host")},
    ),
    Case(
        "a Reshape before only",
        "(float[2,5,3] x) => (float[10,4] y) { r = Reshape(x, rows) g = MatMul(r, w) y = Neg(g) }",
        arrays={"w": W, "rows": int64([10, 3])},
    ),
    Case(
        "a Reshape behind only",
        "(float[10,3] x) => (float[2,5,4] y) { r = Neg(x) g = MatMul(r, w) y = Reshape(g, back) }",
        arrays={"w": W, "back": int64([2, 5, 4])},
    ),
    Case(
        "between Reshapes, a computed matrix",
        "(float[2,5,3] x, float[3,4] z) => (float[2,5,4] y) { r = Reshape(x, rows) g = MatMul(r, z)"
        " y = Reshape(g, back) }",
        arrays={"rows": int64([10, 3]), "back": int64([2, 5, 4])},
    ),
    Case(
        "between Reshapes, a vector",
        "(float[2,5,3] x) => (float[2,5,1] y) { r = Reshape(x, rows) g = MatMul(r, w) y = Reshape(g, back) }",
        arrays={"w": random(3), "rows": int64([10, 3]), "back": int64([2, 5, 1])},
    ),
    Case(
        "between Reshapes, transposed",
        "(float[2,5,4] x) => (float[2,5,3] y) { r = Reshape(x, rows) g = Gemm<transA = 1>(r, w) y = Reshape(g, back) }",
        arrays={"w": random(4, 3), "rows": int64([4, 10]), "back": int64([2, 5, 3])},
    ),
    Case(
        "between Reshapes, scaled",
        "(float[2,5,3] x) => (float[2,5,4] y) { r = Reshape(x, rows) g = Gemm<alpha = 2.0>(r, w)"
        " y = Reshape(g, back) }",
        arrays={"w": W, "rows": int64([10, 3]), "back": int64([2, 5, 4])},
    ),
    Case(
        "between Reshapes, a matrix as bias",
        "(float[2,5,3] x) => (float[2,5,4] y) { r = Reshape(x, rows) g = Gemm(r, w, b) y = Reshape(g, back) }",
        arrays={"w": W, "b": random(10, 4), "rows": int64([10, 3]), "back": int64([2, 5, 4])},
    ),
    Case(
        "between Reshapes, other columns",
        "(float[4,5,3] x) => (float[4,5,2] y) { r = Reshape(x, rows) g = MatMul(r, w) y = Reshape(g, back) }",
        arrays={"w": random(6, 4), "rows": int64([10, 6]), "back": int64([4, 5, 2])},
    ),
    Case(
        "between Reshapes, another rank",
        "(float[2,5,3] x) => (float[10,4] y) { r = Reshape(x, rows) g = MatMul(r, w) y = Reshape(g, back) }",
        arrays={"w": W, "rows": int64([1, 10, 3]), "back": int64([10, 4])},
    ),
    Case(
        "between Reshapes, everything of rank 1",
        "(float[3] x) => (float[4] y) { r = Reshape(x, rows) g = MatMul(r, w) y = Reshape(g, back) }",
        "MatMul",
        arrays={"w": W, "rows": int64([1, 3]), "back": int64([4])},
        exact=False,
    ),
    Case(
        "between Reshapes, two numbers of rows that are not known",
        '(float["n","m",3] x) => (float["n","m",4] y) { r = Reshape(x, rows) n = Shape(x) g = MatMul(r, w)'
        " l = Slice(n, from, to) s = Concat<axis = 0>(l, width) y = Reshape(g, s) }",
        "MatMul",
        arrays={
            "w": W,
            "rows": int64([-1, 3]),
            "width": int64([4]),
            "from": int64([0]),
            "to": int64([2]),
        },
        exact=False,
    ),
    Case(
        "nothing but a view behind",
        "(float[2,5,3] x) => (float[2,5,4] y) { r = Neg(x) g = MatMul(r, w) y = Reshape(g, back) }",
        arrays={"w": W, "back": int64([2, 5, 4])},
    ),
    Case(
        "nothing but a view before",
        "(float[2,5,3] x) => (float[2,5,4] y) { r = Reshape(x, rows) g = MatMul(r, w) y = Neg(g) }",
        arrays={"w": W, "rows": int64([2, 5, 3])},
    ),
    biased("7: a bias"),
    biased("7: the bias on the left", product="c = MatMul(r, w) a = Add(b, c)"),
    biased("7: a bias of rank 2", b=random(1, 4)),
    biased("7: one number", b=float32(3)),
    biased("7: one number of rank 1", b=float32([3])),
    biased(
        "7: a matrix that is computed",
        product="c = MatMul(r, z) a = Add(c, b)",
        ports="(float[2,10,3] x, float[3,4] z) => (float[5,4,4] y)",
    ),
    biased("7: a size that is copied", ports="(float[2,10,3] x) => (float[5,16] y)", back=int64([0, 16])),
    biased(
        "7: a size that is copied and not known",
        ports='(float["n",10,3] x) => (float["n",40] y)',
        to=int64([0, 5, 2, 3]),
        back=int64([0, 40]),
    ),
    biased(
        "7: a size that is computed",
        "Gemm Reshape Reshape Reshape",
        "c = MatMul(r, w) d = Add(c, b) s = Shape(k) a = Reshape(d, s)",
        "(float[2,10,3] x, float[5,16] k) => (float[5,4,4] y)",
    ),
    biased(
        "two sizes, copied and not known",
        None,
        ports='(float["n","m",6] x) => (float["n","m",8] y)',
        to=int64([0, 0, 2, 3]),
        back=int64([0, 0, 8]),
    ),
    biased("nothing before", None, "r2 = Neg(r) c = MatMul(r2, w) a = Add(c, b)"),
    biased("nothing behind", None, "c = MatMul(r, w) d = Add(c, b) a = Neg(d)"),
    biased("no bias", None, "d = Neg(r) c = MatMul(d, w) a = Neg(c)"),
    biased("a factor", None, "c = MatMul(r, w) a = Mul(c, b)"),
    biased("many matrices", None, w=random(5, 3, 4), b=float32([3])),
    biased("a bias per row", None, b=random(4, 1)),
    biased("a bias per matrix", None, b=random(5, 1, 4)),
    biased("a bias that makes columns", None, w=random(3, 1)),
    biased(
        "a bias that is not known",
        None,
        "c = MatMul(r, w) a = Add(c, k)",
        '(float[2,10,3] x, float["k"] k) => (float[5,4,2] y)',
        w=random(3, 2),
        back=int64([5, 4, 2]),
    ),
    biased(
        "integers",
        None,
        ports="(int32[2,10,3] x) => (int32[5,4,4] y)",
        w=int32([[1] * 4] * 3),
        b=int32([1, 2, 3, 4]),
    ),
    Case(
        "declined: the first Reshape is read twice",
        "(float[2,10,3] x) => (float[5,16] y, float[5,4,3] z) { r = Reshape(x, to) c = MatMul(r, w) a = Add(c, b)"
        " y = Reshape(a, back) z = Neg(r) }",
        None,
        "also read by",
        arrays={"w": W, "b": B, "to": int64([5, 4, 3]), "back": int64([5, 16])},
    ),
]


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_case(case: Case, place: str) -> None:
    check(FuseGemm(), case, place)


@pytest.mark.parametrize(
    "text",
    [
        "r = Reshape(x, to) g = Gemm<broadcast = 1>(r, w, b) y = Reshape(g, back)",
        "s = Reshape(x, apart) r = Relu(s) q = Reshape(r, to) c = MatMul(q, w) a = Add<broadcast = 1>(c, b)"
        " y = Reshape(a, back)",
    ],
)
def test_before_opset_7_broadcasting_is_not_what_an_add_does(text: str) -> None:
    arrays = {"w": W, "b": B, "to": int64([20, 3]), "back": int64([2, 10, 4]), "apart": int64([2, 10, 3])}
    model = build(f"(float[2,10,3] x) => (float[2,10,4] y) {{ {text} }}", arrays, opset=6)
    assert run_pass(FuseGemm(), model)[2].records == ()


def test_what_is_between_can_be_priced() -> None:
    graph = read(next(case for case in CASES if case.name == "7: a bias").model())
    FuseGemm().run(graph, Context())
    gemm = next(node for node in graph.nodes if node.op == "Gemm")
    assert (gemm.inputs[0].shape, gemm.outputs[0].shape) == ([20, 3], [20, 4])
