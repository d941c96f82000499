import gc
import weakref
from typing import Any

import numpy as np
import onnx
import pytest

from roofwright.graph import View, read
from roofwright.passes.cleanup import FoldConstants
from roofwright.passes.cleanup.fold_plan import FoldPlan
from roofwright.passes.cleanup.symbols import Symbol
from tests.passes.harness import PLACES, Case, build, check, float32, int64, random, run_pass, same

NMK = '(float["n","m",6] x)'
GATHERED = "s = Shape(x) i = Gather(s, k) j = Concat<axis = 0>(i, l)"

CASES = [
    Case(
        "5. two unknown dimensions at their own places",
        f'{NMK} => (float["n","m",2,3] y) {{ {GATHERED} y = Reshape(x, j) }}',
        "Reshape",
        arrays={"k": int64([0, 1]), "l": int64([2, 3])},
    ),
    Case(
        "5. allowzero goes where nothing asks for a size of 0",
        f'{NMK} => (float["n","m",6] y) {{ z = Neg(x) s = Shape(x) y = Reshape<allowzero = 1>(z, s) }}',
        "Neg",
    ),
    Case(
        "5. a size of 0 that is asked for stays one",
        '(float["n",0] x) => (float["n",0,3] y) '
        "{ s = Shape<end = 1>(x) j = Concat<axis = 0>(s, l) y = Reshape<allowzero = 1>(x, j) }",
        arrays={"l": int64([0, 3])},
    ),
    Case(
        "5. expand to the sizes that are there already but for numbers",
        '(float["n",1] x) => (float["n",4] y) { s = Shape<end = 1>(x) j = Concat<axis = 0>(s, l) y = Expand(x, j) }',
        "Expand",
        arrays={"l": int64([4])},
    ),
    Case(
        "5. expand to a size that is not there",
        '(float[1] x, float["n"] z) => (float["n"] y) { s = Shape(z) y = Expand(x, s) }',
    ),
    Case(
        "7. the -1 of PyTorch's expand",
        '(float["n",1,3] x, float["n"] z) => (float["n",1,3] y) { s = Shape(z) j = Concat<axis = 0>(s, l) '
        "e = Equal(j, minus) w = Where(e, ones, j) y = Expand(x, w) }",
        "Expand",
        arrays={"l": int64([-1, -1]), "minus": int64([-1, -1, -1]), "ones": int64([1, 1, 1])},
    ),
    Case(
        "7. one node for one value",
        '(float["n",3] x) => (int64[2] y, int64[2] w) { z = Relu(x) s = Shape(x) t = Shape(z) y = Neg(s) w = Abs(t) }',
        "Abs Neg Shape",
    ),
    Case(
        "7. arithmetic that comes out even",
        '(float["n",4] x) => (float["n",4] y) { z = Neg(x) s = Shape(x) d = Mul(s, k) e = Div(d, k) '
        "y = Reshape(z, e) }",
        "Neg",
        arrays={"k": int64([2, 1])},
    ),
    Case(
        "7. arithmetic that may be cut off",
        '(float["n",4] x) => (int64[2] y) { s = Shape(x) d = Div(s, k) e = Mul(d, k) y = Neg(e) }',
        arrays={"k": int64([2, 1])},
    ),
    Case(
        "7. a division by what may be 0",
        '(float["n","m"] x) => (int64[1] y) { s = Shape<end = 1>(x) t = Shape<start = 1>(x) y = Div(s, t) }',
    ),
    Case(
        "7. a comparison with a size that is not known",
        '(float["n"] x) => (int64[1] y) { s = Shape(x) c = Equal(s, two) w = Where(c, two, s) y = Neg(w) }',
        arrays={"two": int64([2])},
    ),
    Case(
        "7. two sizes that may differ",
        '(float["n"] x, float["m"] z) => (bool[1] y) { s = Shape(x) t = Shape(z) c = Equal(s, t) y = Not(c) }',
    ),
    Case(
        "7. the product of all sizes",
        '(float["n",3] x) => (float["k"] y) { z = Neg(x) s = Shape(x) p = ReduceProd(s) y = Reshape(z, p) }',
        "Neg Reshape",
    ),
    Case(
        "7. sizes of 32 bits are left alone",
        '(float["n",3] x) => (float["n",3] y) { s = Shape(x) i = Cast<to = 6>(s) j = Cast<to = 7>(i) '
        "y = Reshape(x, j) }",
    ),
    Case(
        "8. a slice to the own size",
        '(float["n",3] x) => (float["n",3] y) { z = Neg(x) s = Shape<end = 1>(x) a = Slice(z, l, s) y = Abs(a) }',
        "Abs Neg",
        arrays={"l": int64([0])},
    ),
    Case(
        "8. a slice that turns around",
        '(float[3,"n"] x) => (float[3,"n"] y) { a = Slice(x, l, e, k, d) y = Neg(a) }',
        arrays={"l": int64([2]), "e": int64([-9]), "k": int64([0]), "d": int64([-1])},
    ),
    Case(
        "8. an expand to the own sizes",
        '(float["n",3] x) => (float["n",3] y) { z = Neg(x) s = Shape(x) a = Expand(z, s) y = Abs(a) }',
        "Abs Neg",
    ),
    Case(
        "8. between input and output it stays",
        '(float["n",3] x) => (float["n",3] y) { s = Shape(x) y = Expand(x, s) }',
        "Expand",
    ),
    Case(
        "8. the smaller of a size and a number, joined with the size",
        '(float["n",3] x) => (float["n",3] y) '
        "{ s = Shape<end = 1>(x) a = Slice(table, l, s) z = Add(x, a) t = Shape(x) y = Expand(z, t) }",
        "Add Shape Slice",
        arrays={"table": random(9, 3), "l": int64([0])},
    ),
    Case(
        "8. alone it may be smaller",
        '(float["n",3] x) => (float["k",3] y) '
        "{ s = Shape<end = 1>(x) a = Slice(table, l, s) t = Slice(a, l, s) y = Neg(t) }",
        arrays={"table": random(2, 3), "l": int64([0])},
    ),
    Case(
        "9. expand before an operator that broadcasts",
        '(float["n",3] x, float[1,3] z) => (float["n",3] y) { s = Shape(x) e = Expand(z, s) y = Mul(x, e) }',
        "Mul",
    ),
    Case(
        "9. an expand of nothing whose name is asked for",
        "(float[2,3] x, int64[2] s) => (float[2,3] y, float[2,3] e) { e = Expand(x, s) y = Mul(x, e) }",
        arrays={"s": int64([2, 3])},
    ),
    Case(
        "9. expand that the other operand does not make up for",
        '(float["n",3] x, float[1,3] z) => (float["n",3] y) { s = Shape(x) e = Expand(z, s) y = Mul(z, e) }',
    ),
    Case(
        "7. a second value that is an output",
        '(float["n",3] x) => (int64[2] y, int64[2] t, int64[2] w) '
        "{ z = Relu(x) s = Shape(x) t = Shape(z) y = Neg(s) w = Abs(t) }",
    ),
    Case(
        "7. chosen by what the runtime has to evaluate",
        '(float["n"] x) => (int64[1] y) { e = Exp(a) c = IsNaN(e) s = Shape(x) w = Where(c, two, s) y = Neg(w) }',
        "Neg Shape",
        arrays={"a": float32([1]), "two": int64([2])},
    ),
    Case(
        "8. another rank that begins the same",
        '(float["n",3] x) => (float["n",3,1] y) { z = Neg(x) s = Shape(x) j = Concat<axis = 0>(s, l) a = Reshape(z, j) '
        "y = Abs(a) }",
        "Abs Neg Reshape",
        arrays={"l": int64([1])},
    ),
    Case(
        "9. an operator that does not broadcast",
        '(float["n",3] x, float[1,3] z) => (float["n",3] y) { s = Shape(x) e = Expand(z, s) f = Mul(x, nil) '
        "i = Cast<to = 7>(f) y = ScatterElements(e, i, x) }",
        arrays={"nil": float32(0)},
    ),
    Case(
        "9. another operator than expand in front",
        '(float["n",3] x, float[1,3] z) => (float["n",3] y) { e = Neg(z) y = Mul(x, e) }',
    ),
    Case(
        "9. the expand adds a dimension",
        '(float[3] z, float["n",3] w) => (float["n",3] y) { s = Shape(w) e = Expand(z, s) y = Mul(z, e) }',
    ),
    Case(
        "9. an expand among unknown shapes",
        '(float[1,3] x, float["n",3] w) => (float["n",3] y) '
        '{ z = Einsum<equation = "ij->ij">(x) s = Shape(w) e = Expand(z, s) y = Mul(z, e) }',
        forget=("z", "e"),
    ),
    Case(
        "5. expand of what has no known shape",
        '(float[1,3] x, float["n",3] w) => (float["n",3] y) '
        '{ z = Einsum<equation = "ij->ij">(x) s = Shape(w) e = Expand(z, s) y = Abs(e) }',
        forget=("z",),
    ),
    Case(
        "5. a target of two unknown sizes at other places",
        '(float["n","m",6] x) => (float["m","n",6] y) { s = Shape(x) i = Gather(s, k) j = Concat<axis = 0>(i, l) '
        "y = Reshape(x, j) }",
        arrays={"k": int64([1, 0]), "l": int64([6])},
    ),
]


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_case(case: Case, place: str) -> None:
    after = check(FoldConstants(), case, place)
    for dim in (1, 3) if place == "alone" else ():
        same(case.model(), after, dim=dim)


def test_the_target_of_an_expand() -> None:
    case = next(case for case in CASES if case.name.startswith("5. expand to the sizes"))
    after = run_pass(FoldConstants(), case.model())[1]
    targets = {tensor.name: onnx.numpy_helper.to_array(tensor).tolist() for tensor in after.graph.initializer}
    assert targets["y_shape"] == [1, 4]


def test_a_tensor_of_unknown_rank_copies_its_own_dimension() -> None:
    text = (
        '(float[2,6] x, bool c) => (float["p","q"] y) { r = If(c) <then_branch = a () => (float[2,6] t) { t = Neg(x) },'
        "else_branch = b () => (float[1,2,6] e) { o = Constant<value_ints = [0]>() e = Unsqueeze(x, o) }> "
        "s = Shape(r) i = Gather(s, k) j = Concat<axis = 0>(i, l) y = Reshape(r, j) }"
    )
    arrays = {"k": int64([0]), "l": int64([-1])}
    before, after, _ = run_pass(FoldConstants(), build(text, arrays))
    assert [node.op_type for node in after.graph.node] == ["If", "Reshape"]
    same(before, after)
    negative = build(text, arrays | {"k": int64([-2])})
    assert len(run_pass(FoldConstants(), negative)[1].graph.node) == len(negative.graph.node)


@pytest.mark.parametrize(
    "nodes",
    [
        "z = Neg(x) y = custom.Slice(z)",
        "c = custom.Neg(a) y = Mul(x, c)",
        "c = custom.Read(x) d = CastLike(a, c) y = custom.Write(x, d)",
        "d = Exp(a) y = Neg(x)",
        "c = Cast<to = 7>(t) y = Reshape(x, c)",
    ],
)
def test_nothing_to_fold(nodes: str) -> None:
    text = np.asarray(["-1", "3"], object)
    arrays = {name: value for name, value in (("a", float32([1, 2, 3])), ("t", text)) if f"({name}" in nodes}
    model = build(f'(float["n",3] x) => (float["n",3] y) {{ {nodes} }}', arrays)
    assert not run_pass(FoldConstants(), model)[2].records


def test_before_opset_5_a_reshape_has_no_input() -> None:
    model = build(
        "(float[2,3] x) => (float[2,3] y) { c = Reshape<shape = [2, 3]>(a) y = Max(x, c) }", {"a": random(6)}, opset=4
    )
    assert not run_pass(FoldConstants(), model)[2].records


def test_a_value_that_nobody_reads_is_written_once() -> None:
    text = (
        '(float["n",3] x) => (int64[2] y, int64[2] w) { z = Relu(x) s = Shape(x) t = Shape(z) y = Neg(s) w = Abs(t) }'
    )
    assert run_pass(FoldConstants(), build(text), tidy=False)[2].changed


@pytest.mark.parametrize("picks", [None, int64([-1]), int64([0] * 65), np.asarray([Symbol()], object)])
def test_what_is_gathered_from_an_unknown_rank_must_be_plain(picks: Any) -> None:
    graph = read(build("(float[2] x) => (float[2] y) { y = Neg(x) }"))
    assert FoldPlan(View(graph), 1)._of_unranked(graph.inputs[0], picks) is None


# ---- the budget
A = random(3, 4)
BOUNDS = {"l0": int64([0]), "l1": int64([24]), "l2": int64([64])}
LIMIT = {"fold_limit_bytes": 100}

BUDGET = [
    Case(
        "6. cut and put together in another order",
        "(float[8,64] x) => (float[8,64] y) "
        "{ a = Slice(w, l0, l1) b = Slice(w, l1, l2) c = Concat<axis = 0>(b, a) y = MatMul(x, c) }",
        "MatMul",
        arrays={"w": random(64, 64), **BOUNDS},
        context=LIMIT,
    ),
    Case(
        "6. two weights for one",
        "(float[8,64] x) => (float[8,64] y) { c = Add(v, w) y = MatMul(x, c) }",
        "MatMul",
        arrays={"w": random(64, 64), "v": random(64, 64, seed=1)},
        context=LIMIT,
    ),
    Case(
        "6. the weight is read elsewhere too",
        "(float[8,64] x) => (float[8,64] y) "
        "{ a = Slice(w, l0, l1) b = Slice(w, l1, l2) c = Concat<axis = 0>(b, a) d = MatMul(x, c) y = MatMul(d, w) }",
        declines="above the limit of 100",
        arrays={"w": random(64, 64), **BOUNDS},
        context=LIMIT,
    ),
    Case(
        "6. two results of one weight",
        "(float[64,64] x) => (float[64,64] y) { a = Neg(w) b = Abs(w) c = Mul(x, a) y = Add(c, b) }",
        declines="above the limit of 16384",
        arrays={"w": random(64, 64)},
        context=LIMIT,
    ),
    Case(
        "6. larger on the way than all that is read",
        "(float[64] x) => (float[64] y) { a = Tile(w, t) b = ReduceMax<axes = [0], keepdims = 0>(a) y = Add(x, b) }",
        declines="above the limit of 16384",
        arrays={"w": random(64, 64), "t": int64([2, 1])},
        context=LIMIT,
    ),
    Case(
        "6. small constants do not tie regions together",
        "(float[64,64] x) => (float[64,64] y) { a = Transpose(w) b = ReduceMax<axes = [0], keepdims = 0>(a) "
        "c = Mul(v, two) d = Mul(two, b) e = Add(x, c) f = Add(d, e) y = MatMul(f, v) }",
        "Add Add MatMul Mul",
        declines="above the limit of 100",
        arrays={"w": random(64, 64), "v": random(64, 64, seed=1), "two": float32(2)},
        context=LIMIT,
    ),
]


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("case", BUDGET, ids=str)
def test_budget(case: Case, place: str) -> None:
    check(FoldConstants(), case, place)


def test_tensors_with_an_entry_stay_so_that_no_new_one_gets_their_id() -> None:
    graph = read(build('(float["n",4] x) => (float["n",4] y) { s = Shape(x) y = Expand(x, s) }'))
    plan = FoldPlan(View(graph), 1 << 10)
    for node in graph.nodes:
        plan.visit(node)
    known = {*plan.values, *plan.shapes._dims}
    made = [weakref.ref(tensor) for node in graph.nodes for tensor in node.outputs if id(tensor) in known]
    assert len(made) == 2
    del node
    for held in (graph.nodes, graph.inputs, graph.outputs):
        held.clear()
    gc.collect()
    assert all(tensor() is not None for tensor in made)


def test_gather_nd_folds() -> None:
    text = "(float[2] x) => (float[2] y) { c = GatherND(a, i) y = Add(x, c) }"
    check(FoldConstants(), Case("gather nd", text, "Add", arrays={"a": A, "i": int64([[0, 1], [2, 3]])}), "alone")
